# Golden images and their channels.
tab-images = Images
images-none = Aucune image de référence n’est dans le stockage. En importer une sur l’appliance :
image-title = Image { $name } { $version }
image-unreadable = Un manifeste illisible
image-trusted = de confiance
image-not-trusted = pas de confiance
stage-of-candidate = candidate
stage-of-approved = approuvée
stage-of-retired = retirée
image-version = Version
image-epoch = Époque
image-state = État
image-used = Où elle est utilisée
image-unused = par aucun modèle à présent
image-follow =
    { $n ->
        [one] { $n } poste
       *[other] { $n } postes
    }
image-runs =
    { $n ->
        [one] { $n } poste y a été restauré en dernier.
       *[other] { $n } postes y ont été restaurés en dernier.
    }
image-jobs = Tâches de cette image
image-digest = Empreinte du manifeste
image-data = Données dessus
image-made = Faite le
image-hardware = Pour le matériel
image-note = Note de son auteur
image-signatures =
    { $n ->
        [one] Qui l’a signée ({ $n } signature)
       *[other] Qui l’a signée ({ $n } signatures)
    }
image-unsigned = Personne ne l’a signée. Ses signataires le font avec
signature-counts = compte
signature-not = ne compte pas
channel-title = Ce qui a été dit des images de ce nom
channel-not-used = Aucune clé de la racine de confiance ne promeut d’images : parmi celles de confiance, celle de plus haute époque est utilisée.
channel-nothing-said = Personne n’a promu d’image de ce nom.
channel-last = Dernier mot : { $stage }, époque { $epoch }, par { $author },
promote-title = Promouvoir
promote-how = Aucune clé qui promeut des images n’est sur l’appliance. Qui en a une signe avec { $command } et colle le fichier ici.
promote-statement = La promotion signée
promote-button = La remettre
promote-refused = Sont refusées : une plus ancienne que la dernière d’ici, une d’une clé que la racine de confiance ne liste pas, et l’approbation d’une image qui n’est pas de confiance.
code-permission-images-words = promouvoir une image

## Refusals
code-bad-image-what = Ce n’est pas l’identifiant d’une image.
code-bad-image-now = Ouvrez l’image depuis la liste.
code-unknown-image-what = Cette image n’est pas dans le stockage.
code-unknown-image-now = Cherchez-la dans la liste des images.
code-bad-statement-what = Ce n’est pas une promotion signée de ce nom.
code-bad-statement-now = Collez ce qui a été signé, en entier et tel quel.
code-channel-moved-what = Une autre promotion est arrivée depuis que vous avez regardé.
code-channel-moved-now = Regardez l’image de nouveau, puis décidez.
code-channel-rolled-back-what = La promotion est plus ancienne que la dernière d’ici.
code-channel-rolled-back-now = Un ordre d’avant ne revient pas : faites-le signer de nouveau.
code-statement-refused-what = Aucune clé qui promeut des images ici ne l’a signée.
code-statement-refused-now = Faites-la signer par une clé que la racine de confiance liste pour cela.
