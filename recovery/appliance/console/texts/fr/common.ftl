decimal-sign = ,
duration-seconds = { $s } s
duration-minutes = { $m } min { $s } s
duration-hours = { $h } h { $m } min
byte-unit = o
rate-per-second = { $bytes }/s
bytes-of = { $done } sur { $total }
never = jamais
go-back = Retour
no-back = Non, retour
why-field = Pourquoi ? (inscrit dans les preuves, peut rester vide)
state-discovered = Détecté
state-known = Connu
state-trusted = De confiance
state-suspect = Suspect
state-recovering = En restauration
state-held = A besoin de vous
job-working = En cours
job-held = Suspendue
job-recovered = Restauré
job-captured = Capturé
job-cancelled = Annulée
job-failed = Échec
stretch-approve = Approbation
stretch-network = Démarrage par le réseau
stretch-prove = Preuve du matériel
stretch-write = Écriture de l’image de référence
stretch-start = Démarrage du système restauré
stretch-enrol = Enrôlement
stretch-read = Lecture du disque
stretch-own = Redémarrage de son propre système
stretch-ahead = à venir
stretch-now = en cours
stretch-stopped = arrêté ici
stretch-done = terminé
stage-proposed = demandée
stage-admitted = vérifiée par les garde-fous
stage-approved = approuvée
stage-fenced = ancienne identité révoquée
stage-ticketed = ticket de démarrage émis
stage-powering = mise en route par le réseau
stage-agent-wait = attente du système de restauration
stage-proving = preuve du matériel
stage-capturing = lecture du disque
stage-imaging = écriture de l’image de référence
stage-read-back = relecture
stage-disarming = ticket annulé, redémarrage
stage-os-wait = attente du système restauré
stage-verifying = vérification du système restauré
stage-enrolling = enrôlement
stage-registering = inscription au plan de contrôle
stage-releasing = levée de la quarantaine
activity-scanning = Lecture du disque
activity-writing = Écriture
activity-reading-back = Relecture
activity-erasing = Effacement du disque
activity-keeping = Conservation de ce qui peut montrer la cause
role-technician = technicien
role-engineer = ingénieur
role-approver = approbateur
role-auditor = auditeur
role-admin = administrateur
role-automation = automate
or-word = ou
why-not-role = Vous êtes ici { $role } et n’avez pas ce droit : { $what }. Demandez à une personne ayant le rôle { $who }.
why-not-nothing = Il n’y a rien derrière ce bouton.
drill-word = EXERCICE
drill-not-real = Répétition : rien en production n’est touché.
stop-banner = STOP est en vigueur.
stop-banner-more = Aucune restauration ne démarre ; ce qui écrivait s’arrête à son prochain rapport.
stop-banner-link = Qui, pourquoi, et comment le lever
stop-one-more = { $by } l’a levé. Une autre personne doit le faire avant { $moment }.
stop-title = STOP pour tout le site
stop-what = Toute restauration qui pourrait encore commuter ou écrire est suspendue, et aucune ne démarre, jusqu’à ce que deux personnes l’aient levé.
stop-disks = Un poste dont le disque est à moitié écrit ne démarre pas avant la reprise de sa tâche. Si le disque est intact, il démarre comme avant.
stop-stands = STOP est en vigueur
stop-pressed = { $by } l’a déclenché à { $moment }, il y a { $time }.
stop-no-reason = Aucune raison n’a été donnée.
stop-held =
    { $n ->
        [one] { $n } tâche a été suspendue.
       *[other] { $n } tâches ont été suspendues.
    } Après la levée, elles sont reprises une à une.
stop-goes-on = Ceci continue malgré tout :
stop-now-second = { $by } l’a levé : { $reason } Une autre personne doit le faire aussi, avant { $moment }.
stop-now-first = Trouvez la cause. Puis deux personnes le lèvent, chacune sous son nom.
stop-found = Ce qui a été trouvé, et pourquoi cela peut reprendre
stop-release = Lever le STOP
stop-again = STOP à nouveau
stop-again-what = S’il est déclenché à nouveau, une levée déjà donnée est nulle.
stop-own-release = Une autre personne doit aussi le lever : la première levée est la vôtre.
glass-banner = La vitre a été brisée.
glass-banner-late = La vitre a été brisée, et personne n’a vérifié à temps.
glass-count =
    { $n ->
        [one] { $n } restauration s’est poursuivie sans approbation.
       *[other] { $n } restaurations se sont poursuivies sans approbation.
    }
glass-link = Qui, pourquoi, et ce qu’en dit une autre personne
glass-nobody = Personne n’est là pour approuver
glass-what = La restauration peut commencer sans la seconde personne. C’est une alarme, à votre nom, et une autre personne l’examine sous 24 heures. Garde-fous, STOP et autorisation de la machine restent valables.
glass-happened = Ce qui s’est passé
glass-break = Briser la vitre
glass-mark = { $by } l’a laissée se poursuivre sans l’approbation requise.
glass-review = Examiner
glass-title = Vitre brisée
glass-none = Rien n’attend d’examen.
glass-began = { $by } a lancé sa restauration sans approbation à { $moment } :
glass-overdue = En retard depuis { $moment }.
glass-due = À examiner avant { $moment }.
glass-job = La tâche et ses preuves
glass-own = Une autre personne doit l’examiner : vous avez brisé cette vitre vous-même.
glass-found = Ce que vous avez constaté
glass-right = C’était justifié
glass-wrong = Ce ne l’était pas
plans-title = Plans permanents
plans-what = Un plan est une approbation donnée à l’avance par deux personnes : une restauration qui l’attendrait la nuit démarre d’elle-même. Il vaut pour les postes et l’image qu’il nomme, tels qu’ils étaient ; si quelque chose change, il est nul.
plans-none = Il n’y en a aucun. On en crée un en ligne de commande :
plans-try = Essayer une autre configuration sur les rapports passés
plan-proposed = à approuver
plan-standing = en vigueur
plan-over = terminé
plan-any-time = à tout moment
plan-whom = Pour qui
plan-endpoints =
    { $n ->
        [one] { $n } poste
       *[other] { $n } postes
    } : { $names }
fig-image = Image
plan-begun-by = Déclenché par
plan-trigger = un défaut d’intégrité confirmé par { $triggers }
col-when = Quand
plan-day = En 24 heures
plan-of = { $n } sur { $most }
plan-made-by = Créé par
by-at = { $by } à { $moment }
plan-approved-by = Approuvé par
nobody-yet = personne pour l’instant
plan-ends = Expire
plan-own = Une autre personne doit l’approuver : vous l’avez créé ou déjà approuvé.
plan-withdraw = Retirer
policy-title = Essayer une politique
policy-what = Ce qu’une autre configuration aurait fait des rapports passés. Rien n’est appliqué.
policy-config = Configuration, comme dans le fichier de l’appliance
policy-days = Jours à examiner
policy-try = Essayer
policy-begun = { $n } auraient démarré d’elles-mêmes
policy-reports =
    { $n ->
        [one] Rapports en { $n } jour
       *[other] Rapports en { $n } jours
    }
policy-begin = Auraient démarré d’elles-mêmes
policy-ask = Auraient demandé à une personne
policy-quarantine = Postes plus de confiance
policy-join = Rattachés à une restauration en cours
policy-nothing = Rien
policy-region = Ce qui aurait été fait
col-endpoint = Poste
col-source = Source
col-would = Effet
col-because = Parce que
policy-because = Rien, parce que
policy-left-out =
    { $n ->
        [one] { $n } rapport plus ancien a été omis.
       *[other] { $n } rapports plus anciens ont été omis.
    }
policy-not-replayed = Non rejoué
drills-none = Aucun depuis le démarrage de l’appliance.
drill-passed = { $n } étapes réussies sur { $all }
drill-start-title = Lancer un exercice
drill-none-safe = Aucun poste ne peut servir d’exercice. Enregistrez un poste de banc, à disque de rechange ou virtuel comme sûr pour l’exercice :
drill-runbook = Procédure
drill-really = Un exercice n’écrit que sur les postes autorisés. Il y écrit vraiment.
drill-start = Lancer l’exercice
drill-recoveries = Restaurations de cet exercice
drill-who = Qui l’a fait, si ce n’est pas vous
drill-note = Note (inscrite au rapport, peut rester vide)
yes-word = Oui
no-word = Non
drill-running = En cours
drill-waiting = Attend une personne
drill-succeeded = Réussi
drill-partly = Partiellement réussi
drill-failed = Échoué
drill-stopped = Arrêté
step-passed = réussi
step-failed = échoué
step-running = en cours
step-waiting = attend une personne
step-ahead = à venir
step-skipped = sauté
boot-title = Son démarrage réseau
boot-chain = chaîne { $chain }
boot-offered = proposé { $offer }
boot-began = commencé { $moment }
col-after = Après
col-step = Étape
col-outcome = Résultat
col-what = Quoi
boot-before = Avant, { $moment } :
boot-foreign = Un autre serveur sur le réseau de démarrage
boot-on = { $server } sur { $interface } :
last-heard = Entendu pour la dernière fois { $moment }
boot-twice = Une adresse est utilisée deux fois, ou peut l’être
boot-used-by = { $address } est utilisée par { $mac } sans bail :
