hold-seconds = Maintenir { $s } s
hold-started = Démarré
hold-to-recover = Maintenir pour restaurer
hold-help = Maintenez 3 secondes. Relâcher annule.
endpoint-refused = Il a été refusé
endpoint-refused-stands = Ceci reste affiché jusqu’à ce qu’il se prouve. Chaque refus est daté dans les preuves.
conflict-title = Qui est-ce ?
conflict-came = Un autre est arrivé avec une adresse de { $endpoint } :
conflict-times =
    { $n ->
        [one] { $n } fois
       *[other] { $n } fois
    } depuis { $moment }
conflict-say = Il n’est pas restauré tant que vous n’avez pas dit lequel c’est. Si vous n’avez rien déplacé ni remplacé, isolez l’autre.
conflict-keep = Garder celui enregistré ; refuser l’autre
conflict-replace = Son matériel a été remplacé par celui-ci
pair-title = Ce code est-il sur son écran ?
pair-why = Le poste n’a pas de TPM pour se prouver. Comparez le code avec l’écran de { $endpoint }.
pair-yes = Oui, les codes sont identiques
pair-differ = S’ils diffèrent : isolez le poste. Un autre répond peut-être à sa place.
last-recovery = Dernière restauration
took = a duré { $time }
open-job = Ouvrir la tâche
unknown-why = Il a été vu et n’est pas enregistré : il démarre sur son disque et n’obtient rien. Enregistrez-le ; il pourra alors être restauré.
unknown-forget = Ou l’oublier :
recover-title = Restaurer { $endpoint }
recover-lost = Tout le contenu du disque est remplacé par l’image de référence de { $blueprint }. Rien n’est conservé.
recover-would-wait = Elle attendrait :
last-time = La dernière fois, cela a duré { $time }.
recover-sure = Restaurer { $endpoint } ?
yes-recover = Oui, restaurer { $endpoint }
all-of-job = Toute la tâche, avec ses preuves
tpm-weaker = Le TPM est admis depuis sa première restauration approuvée : une preuve plus faible que celle du fabricant.
facts-title = Ce que c’est
fact-kind = Type
fact-safety = Classe de sécurité
fact-redundancy = Groupe de redondance
fact-ethernet = Ethernet
fact-docked = (station ou adaptateur USB : n’identifie personne)
none-on-record = aucun enregistré
fact-maker = Fabricant du TPM
fact-chain = Chaîne de démarrage
fact-certificate = Certificat
not-enrolled = non enrôlé
fact-seen = Vu pour la dernière fois
fact-proof = Dernière preuve
may-be-drilled = exercice autorisé
never-drilled = jamais d’exercice
fact-serial = Numéro de série
fact-firmware = Micrologiciel
fact-memory = Mémoire
fact-disk = Disque
disk-serial = série { $serial }
disk-path = à { $path }
disk-removable = (amovible : jamais écrit)
disk-health = état : { $health }
disk-erase = peut s’effacer par : { $by }
hardware-title = De quoi il est fait, qui l’a dit et quand
hardware-region = Données matérielles
col-has = Élément
col-as = Valeur
col-since = Depuis
col-told = Source
col-last = Dernier
hardware-unknown = Ce que personne n’a dit n’est pas affiché : inconnu n’est pas zéro.
told-recovery = le système de restauration
told-restored = le système sur son disque
fw-bios = BIOS
fw-uefi = UEFI, Secure Boot désactivé
fw-uefi-secure = UEFI, Secure Boot activé
none-meant = Aucun ne correspond.
show-all = Tout afficher
glass-mark-short = VITRE BRISÉE
row-conflict = Un autre est arrivé avec son adresse. Ouvrez et dites lequel c’est.
row-since = Demandée il y a { $time }.
row-suspect = Son intégrité est en doute. Ouvrez et décidez.
row-discovered = Vu sur le réseau, non enregistré. Il n’obtient rien.
row-proved = Dernière preuve à { $moment }.
row-enrolled = Enrôlé.
row-known = Enregistré, non enrôlé.
net-refused = Refusé sur le réseau de démarrage
net-refused-times =
    { $n ->
        [one] { $n } fois
       *[other] { $n } fois
    }, la dernière à { $moment } depuis { $from }.
none-yet = Aucun poste pour l’instant
none-yet-put = Enregistrez-en un sur l’appliance :
none-yet-boot = Ou faites-en démarrer un par le réseau : il apparaît ici comme détecté.
capture-of = Capture de { $endpoint }
recovery-of = Restauration de { $endpoint }
asked-by = demandée par { $trigger }
job-id = Tâche { $job }
image-id = image { $image }
limit-says = Si rien n’avance, elle s’arrête à { $moment } et dit pourquoi.
preserved-given-up = Les partitions préservées sont abandonnées.
preserved-given-up-more = Leur contenu sur le poste est remplacé par celui de l’image.
button-approve = Approuver
button-go-on = Reprendre
button-give-up = Abandonner
button-stop = Arrêter
button-cancel = Annuler
stop-sure = Arrêter la restauration de { $endpoint } ?
stop-late = Son disque est en cours d’écriture : { $endpoint } ne démarre pas avant la fin de la restauration.
stop-early = Son disque est encore intact.
yes-stop = Oui, l’arrêter
plan-result = Plan et résultat
fig-keep = Déjà correct
fig-preserved = Préservé, haché avant et après
fig-move = Ailleurs sur le disque
fig-fetch = À récupérer
in-chunks =
    { $n ->
        [one] { $bytes } en { $n } bloc
       *[other] { $bytes } en { $n } blocs
    }
fig-zero = À mettre à zéro
fig-health = État du disque
fig-erased = Disque effacé
fig-wire = Par le réseau
fig-written = Écrit
fig-read-back = Relu, identique
fig-boot-entry = Entrée de démarrage du micrologiciel
entry-kept = était correcte
entry-set = définie
entry-refused = refusée par le micrologiciel : vérifiez qu’il démarre seul sur ce disque
exhibit-choice = Conserver d’abord ce qui peut montrer la cause ; une minute au plus
exhibit-title = Conservé de l’ancien système
exhibit-will = Ce qui peut montrer la cause est conservé avant toute écriture.
exhibit-ordered = Le poste doit le conserver, en { $seconds } s au plus ; il n’a pas encore dit ce qu’il en est.
exhibit-kept = Cela se trouve sur l’appliance, à part des images, et n’est jamais restauré.
exhibit-nothing = Rien n’a été conservé ; la restauration a continué.
exhibit-deleted = Supprimé par { $by } ; son entrée reste.
exhibit-bytes = Taille
exhibit-files = Fichiers
exhibit-took = Durée
exhibit-until = Supprimé de lui-même
exhibit-cut =
    { $n ->
        [one] { $n } élément laissé de côté
       *[other] { $n } éléments laissés de côté
    }
captured-title = Ce qui a été capturé
fig-kept = Conservé
fig-free = Libre, omis
captured-look = À regarder avant de la signer
phases-title = Phases
col-phase = Phase
col-time = Durée
in-all = En tout
evidence-title =
    { $n ->
        [one] Preuves ({ $n } entrée)
       *[other] Preuves ({ $n } entrées)
    }
evidence-check = Vérifiez tout le journal avec { $command }.
said-recovered = { $endpoint } exécute de nouveau { $image } et l’a prouvé.
said-recovered-plane = Le disque de { $endpoint } est de nouveau { $image }, relu. Qu’il fonctionne est la parole d’un plan de contrôle, et non une preuve.
said-recovered-person = Le disque de { $endpoint } est de nouveau { $image }, relu. Qu’il fonctionne est la parole d’une personne, et non une preuve.
said-captured = Le disque de { $endpoint } est dans le stockage sous { $image }.
now-sign = Faites-la signer par ses signataires.
said-given-up = Abandonnée à l’étape « { $stage } ».
said-untouched = Arrêtée à l’étape « { $stage } » ; le disque n’a pas été touché.
now-order-new = Le poste ne démarre pas ; ordonnez une nouvelle restauration.
now-failed = La tâche a été abandonnée ; ordonnez une nouvelle restauration une fois la cause corrigée.
now-by-hand = Éteignez puis rallumez le poste et choisissez le démarrage réseau dans son micrologiciel.
record-says = Le journal indique :
scan-title = Quelle machine ?
scan-how = Scannez le code sur la machine, ou touchez-la dans la liste.
scan-field = Code de la machine
scan-open = Ouvrir
scan-camera = Scanner avec la caméra
scan-camera-stop = Arrêter la caméra
scan-no-camera = Ce navigateur ne lit pas les codes. Le lecteur et la liste fonctionnent.
scan-camera-refused = La caméra est inutilisable. Le lecteur et la liste fonctionnent.
scan-unreadable = Ce n’est pas un code de machine. Scannez à nouveau, ou touchez-la dans la liste.
scan-tab = Scanner
scan-list = Machines
line-named = Ligne { $line }
photo-of = Photo de { $endpoint }
photo-none = Pas encore de photo
photo-title = Photo de la machine
photo-what = Un technicien la compare avec ce qu’il a devant lui. JPEG, PNG ou WebP, 512 Kio au plus.
photo-file = Fichier photo
photo-send = Utiliser cette photo
photo-remove = Retirer la photo
machine-this = Est-ce cette machine ?
machine-compare = Comparez la photo et le nom avec la machine devant vous.
machine-yes = Oui, cette machine
machine-no = Non, une autre
saved-state = État enregistré : { $image }
saved-age =
    { $n ->
        [one] enregistré il y a { $n } jour
       *[other] enregistré il y a { $n } jours
    }
saved-today = enregistré aujourd’hui
saved-none = Il n’y a pas d’état enregistré auquel revenir.
usual-time = D’habitude { $from }, neuf sur dix en { $to } ({ $n } restaurations)
usual-unknown =
    { $n ->
        [one] La durée n’est pas encore connue : { $n } restauration jusqu’ici
       *[other] La durée n’est pas encore connue : { $n } restaurations jusqu’ici
    }
safety-title = Avant de commencer
safety-0 = Aucune production ne dépend de cette machine.
safety-1 = La ligne remarque son absence. Prévenez d’abord l’équipe.
safety-2 = D’autres en dépendent. Une autre personne doit approuver avant toute écriture.
safety-3 = Elle est liée à la sécurité. Il faut une seconde personne ; aucune urgence n’en dispense.
safety-kind-panel = Son écran s’éteint pendant ce temps. Surveillez le procédé sur un autre pupitre.
safety-kind-server = Ce qu’elle fournit aux autres manque pendant ce temps.
safety-kind-computer = Qui y travaille doit enregistrer et la quitter maintenant.
safety-lost = Perdu : tout ce qui est sur son disque depuis l’état enregistré.
safety-kept = Conservé : { $parts }
safety-nothing-kept = Conservé : rien.
safety-tick = La machine est arrêtée ou sûre sans elle
safety-missing = Cochez d’abord la case : la machine doit être arrêtée ou sûre.
walk-away = Vous pouvez vous éloigner jusqu’à { $moment }
walk-late = C’est plus long que d’habitude. Regardez son écran.
walk-unknown = Restez à proximité : la durée n’est pas encore connue
walk-stay = Restez ici : on a besoin de vous
heard-ago = Dernier signe il y a { $time }
heard-never = Aucun signe encore
live-title = L’écran affiche-t-il des valeurs en direct ?
live-what = Regardez la machine. Votre réponse est inscrite dans les preuves.
live-yes = Oui, valeurs en direct
live-no = Non
done-title = Terminé
done-what = { $endpoint } fonctionne à nouveau. Vous pouvez partir.
next-machine = Machine suivante
recover-again = La restaurer à nouveau
not-live-title = Elle exécute l’état enregistré et n’affiche pas de valeurs en direct
not-live-dark = Écran noir : vérifiez l’alimentation et le câble de l’écran.
not-live-stale = Image sans valeurs : vérifiez le câble réseau et que l’automate tourne. Attendez deux minutes.
not-live-call = Toujours rien : appelez un ingénieur et donnez le code.
not-live-now = Elle affiche maintenant des valeurs
phone-opens-it = Scannez avec un téléphone : la même page s’ouvre.
engineers-page = Tout sur cette machine
card-print = Carte à imprimer
card-title = Carte de { $endpoint }
card-scan = Scanner pour restaurer
card-step-1 = Mettez la machine en sécurité
card-step-2 = Scannez ce code
card-step-3 = Comparez photo et nom
card-step-4 = Cochez, puis maintenez 3 secondes
card-step-5 = Si demandé : éteignez et rallumez
card-step-6 = Vérifiez les valeurs en direct
card-black = Écran noir : maintenez le bouton d’alimentation 10 secondes.
card-phone = Appeler
card-unreachable = Si la page ne s’ouvre pas
card-unreachable-1 = Utilisez la tablette de la ligne, ou un autre téléphone.
card-unreachable-2 = Vérifiez que l’appliance est alimentée et que son voyant réseau est allumé.
card-unreachable-3 = Laissez la machine telle quelle et appelez. Notez-le ci-dessous.
card-log-when = Quand
card-log-who = Qui
card-log-what = Quoi
card-printed = Imprimée le { $date }, carte { $version }
