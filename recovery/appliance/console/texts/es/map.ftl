# The plant as a picture.
tab-map = Mapa
map-picture =
    { $endpoints ->
        [one] Un mapa de { $endpoints } equipo en { $places } lugares; la tabla de abajo dice lo mismo.
       *[other] Un mapa de { $endpoints } equipos en { $places } lugares; la tabla de abajo dice lo mismo.
    }
map-place = Línea / celda
map-elsewhere = sin línea
map-times = Cuánto tardaron las recuperaciones
map-times-none = Todavía no ha terminado bien ninguna recuperación.
map-count =
    { $n ->
        [one] { $n } recuperación, { $drills } de ellas simulacros.
       *[other] { $n } recuperaciones, { $drills } de ellas simulacros.
    }
map-usual = La mitad de las reales no pasó de { $p50 }, nueve de cada diez de { $p90 }.
map-too-few = Muy pocas para una duración habitual.
map-chart =
    { $n ->
        [one] { $n } recuperación a lo largo del tiempo; la más larga tardó { $longest }.
       *[other] { $n } recuperaciones a lo largo del tiempo; la más larga tardó { $longest }.
    }
