# The plant as a picture.
tab-map = Plan de l’usine
map-picture =
    { $endpoints ->
        [one] Un plan de { $endpoints } poste en { $places } lieux ; le tableau ci-dessous dit la même chose.
       *[other] Un plan de { $endpoints } postes en { $places } lieux ; le tableau ci-dessous dit la même chose.
    }
map-place = Ligne / cellule
map-elsewhere = sans ligne
map-times = Durée des restaurations
map-times-none = Aucune restauration n’a encore abouti.
map-count =
    { $n ->
        [one] { $n } restauration, dont { $drills } exercices.
       *[other] { $n } restaurations, dont { $drills } exercices.
    }
map-usual = La moitié des réelles n’a pas dépassé { $p50 }, neuf sur dix { $p90 }.
map-too-few = Trop peu pour une durée habituelle.
map-chart =
    { $n ->
        [one] { $n } restauration au fil du temps ; la plus longue a pris { $longest }.
       *[other] { $n } restaurations au fil du temps ; la plus longue a pris { $longest }.
    }
