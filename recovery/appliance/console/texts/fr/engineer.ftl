# Pages for those who run the site.

## Names of pages and roles
tab-home = Accueil
tab-approvals = Approbations
tab-network = Réseau
tab-site = Site
tab-more = Plus

## What waits for somebody
home-title = Ce qui attend quelqu’un
home-nothing = Rien n’attend personne.
home-states = Postes par état
home-all =
    { $count ->
        [one] { $count } poste en tout
       *[other] { $count } postes en tout
    }
home-running =
    { $count ->
        [one] { $count } tâche en cours
       *[other] { $count } tâches en cours
    }
home-until = jusqu’au
home-for = attend depuis
home-you-may = Vous pouvez le faire.
home-they-may = Peut le faire : { $roles }.
home-stands = en vigueur
home-stop =
    { $count ->
        [one] { $person } a appuyé sur STOP ; { $count } tâche est retenue.
       *[other] { $person } a appuyé sur STOP ; { $count } tâches sont retenues.
    }
home-stop-next = Cherchez la cause ; puis deux personnes le lèvent, chacune sous son nom.
home-asks = attend une approbation
home-conflict-word = qui est-ce ?
home-conflict = Un autre s’est présenté avec son adresse.
home-conflict-next = Ouvrez-le et dites lequel c’est ; il n’est pas restauré d’ici là.
home-suspect-title =
    { $count ->
        [one] { $count } poste
       *[other] { $count } postes
    }
home-suspect = Leur intégrité est mise en doute.
home-suspect-next = Examinez chacun et restaurez-le, ou cherchez ce qui a changé.
home-network-word = réseau d’amorçage
home-foreign-title = Autre serveur : { $server }
home-foreign-next = Trouvez-le et arrêtez-le, ou tenez-le hors du réseau d’amorçage.
home-address-next = Trouvez { $by } et donnez-lui une autre adresse.
home-refused-word = refusé
home-refused = { $count } fois, la dernière de { $from } : { $why }
home-refused-next = Voyez s’il a sa place sur le réseau d’amorçage.
home-overdue = en retard
home-review-word = examen à faire
home-review = { $person } a lancé sa restauration sans approbation : { $reason }
home-review-next = Une autre personne dit si c’était justifié.
home-plan =
    { $count ->
        [one] Un plan permanent de { $by } pour { $count } poste.
       *[other] Un plan permanent de { $by } pour { $count } postes.
    }
home-plan-next = Deux personnes l’approuvent, ou une le retire.
home-drill-word = un exercice demande
home-drill-next = Répondez à l’étape.
home-due-word = à faire
home-room-title = Le disque est presque plein
home-room = { $free } sur { $total } sont libres
home-room-next = Faites de la place : supprimez les images inutiles, ou installez un disque plus grand.
home-backup-title = Sauvegarde
home-backup-old = La dernière sauvegarde de l’appliance date de plus d’une semaine.
home-backup-none = Aucune sauvegarde de l’appliance n’est enregistrée.
home-backup-next = Enregistrez son état sur l’appliance et gardez le fichier ailleurs.
home-drill-schedule = Selon son calendrier, le runbook { $runbook } est à répéter.
home-drill-schedule-next = La lancer sur la page des exercices.
home-drill-due-title = Exercice
home-drill-old = Le dernier exercice remonte à plus d’un trimestre.
home-drill-none = Rien n’a encore été exercé ici.
home-drill-due-next =
    { $count ->
        [one] Faites-en un : { $count } poste s’y prête.
       *[other] Faites-en un : { $count } postes s’y prêtent.
    }
home-seen-title =
    { $count ->
        [one] { $count } poste a été vu
       *[other] { $count } postes ont été vus
    }
home-seen = Ils sont sur le réseau et non enregistrés ; ils ne reçoivent rien.
home-seen-next = Enregistrez ceux qui ont leur place ici.

## Lists
list-words = Mots
list-selector = Ceux pour lesquels ceci est vrai
list-sort = Ordre
list-sort-need = qui a besoin de quelqu’un
list-sort-name = nom
list-sort-seen = dernier signe de vie
list-sort-line = ligne
list-show = Afficher
list-found =
    { $count ->
        [one] { $count } trouvé
       *[other] { $count } trouvés
    }
list-pages = Pages
list-first = Première page
list-next = Page suivante

## Approvals
approvals-none = Rien n’attend d’approbation.
approvals-plans =
    { $count ->
        [one] { $count } plan permanent attend une approbation
       *[other] { $count } plans permanents attendent une approbation
    }
approvals-reviews =
    { $count ->
        [one] { $count } restauration sans approbation attend son examen
       *[other] { $count } restaurations sans approbation attendent leur examen
    }
approvals-asked-by = { $person } l’a demandé le
approvals-until = Abandonné le
approvals-second = Une autre personne doit approuver.
approvals-job = La tâche et ses preuves
approvals-of = Quoi
approvals-now = Maintenant
approvals-then = Après
approvals-image = Image
approvals-never = jamais restauré ici
approvals-capture = lue dans le magasin sous { $name }
approvals-same = (la même)
approvals-disk = Disque
approvals-only-disk = son seul disque
approvals-read-only = est lu, non écrit
approvals-erased = Effacé d’abord ({ $how }).
approvals-all = Tout y est remplacé, même ce que l’image préserve.
approvals-but-preserved = Tout y est remplacé sauf ce que l’image préserve.
approvals-mode = Nature
approvals-drill = un exercice
approvals-real = réel
approvals-reason = Pourquoi (versé aux preuves ; requis pour un refus)
approvals-approve = Approuver
approvals-deny = Refuser

## The boot network
network-interfaces = Interfaces
network-no-interface = Aucune interface n’est servie : ajoutez une entrée [[interfaces]] à la configuration.
network-observe = elle écoute et ne répond à personne
network-proxy = le DHCP du site donne les adresses, l’appliance les fichiers d’amorçage
network-full = l’appliance donne les adresses et les fichiers d’amorçage
network-foreign = Autres serveurs DHCP et d’amorçage
network-foreign-none = Aucun n’a été entendu depuis le démarrage.
network-in-the-way = gêne
network-harmless = normal
network-heard = Entendu { $count } fois sur { $interface },
network-remedy-both = Trouvez { $server } : cherchez son adresse Ethernet dans le commutateur. Si c’est un routeur ou un portable qui fait du DHCP, désactivez-le ; s’il est voulu, sortez-le de ce VLAN.
network-remedy-boots = Le firmware garde la première offre d’amorçage : retirez les options 66 et 67 ou le service d’amorçage de { $server }, ou donnez aux postes un VLAN sans lui.
network-remedy-gives = Deux serveurs donnent des adresses ici : arrêtez le DHCP de { $server }, ou passez cette interface en proxy.
network-probe = Demander qui d’autre amorce
network-probe-help = Chaque interface est interrogée ; cela prend quelques secondes.
network-boots = Amorçages
network-boots-none = Personne n’a demandé à démarrer par le réseau depuis le démarrage.
network-who = Qui
network-reached = Arrivé à
network-matter = Ce qui se passe
network-last = Vu
network-more = et { $count } autres
network-silent =
    { $count ->
        [one] { $count } poste n’a rien dit : l’afficher
       *[other] { $count } postes n’ont rien dit : les afficher
    }
network-boot-of = Amorçage réseau de { $endpoint }
trace-title = Jusqu’où il est allé
trace-missing = L’étape qui n’est pas venue : { $hop }.
trace-gap = ceci n’est pas venu
trace-not-reached = non atteint
trace-table = La même chose en tableau
trace-hop = Étape
trace-at = Après
trace-took = Durée
trace-what = Ce qui a été vu
trace-picture = Un amorçage de { $duration } arrivé à { $reached } ; le tableau ci-dessous dit la même chose.
code-discover-hop = découverte
code-offer-hop = offre
code-file-hop = fichier
code-kernel-hop = noyau
code-agent-hop = agent

## The appliance itself
site-appliance = Appliance
site-version = Version
site-up = En marche depuis
site-certificates = Certificats
site-tls = Le sien (TLS)
site-until = jusqu’au
site-unreadable = illisible
site-pin = Clé épinglée par les postes (SHA-256)
site-renewed = Il est refait tout seul 30 jours avant sa fin ; la clé reste.
site-backup = Sauvegarde
site-saved = Dernière sauvegarde le
site-backup-how = Sur l’appliance, en marche ; le fichier est chiffré par une phrase de passe :
site-restore-how = Elle revient sur une machine vide par
site-takeover = Qui écrit
site-nobody-writes = Aucune appliance n’est nommée ; celle-ci écrit.
site-we-write = Cette appliance écrit (mandat { $term }).
site-other-writes = Une autre appliance, { $holder }, écrit (mandat { $term }) ; celle-ci est écartée.
site-since = Depuis
site-takeover-how = Une seconde appliance sur cette base prend la main par un ordre :
site-storage = Stockage
site-data-dir = Répertoire de données
site-free = Place
site-database = Base de données
site-images = Magasin d’images
site-depot = Stockage objet
site-trouble = problème
site-sinks = Qui reçoit les preuves
site-delivers = livre
site-behind =
    { $count ->
        [one] { $count } entrée de retard
       *[other] { $count } entrées de retard
    }
site-delivered = dernière le
site-dead =
    { $count ->
        [one] { $count } refusée définitivement :
       *[other] { $count } refusées définitivement :
    }
site-ports = Ports ouverts
site-port = Port
site-purpose = Pour
site-at = Sur
site-more = Autres pages du site
site-policy = Essayer une autre politique
site-reviews = Restaurations sans approbation
site-metrics = Mesures pour un système de supervision
code-people-port = console et REST
code-endpoints-port = agents et enrôlement
code-dhcp-port = DHCP
code-boot-server-port = serveur d’amorçage (PXE)
code-tftp-port = TFTP
code-http-boot-port = amorçage HTTP et images
code-https-boot-port = amorçage HTTPS
code-syslog-port = messages des chargeurs
