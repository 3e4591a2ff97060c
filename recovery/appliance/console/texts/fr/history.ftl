# What happened: jobs and the evidence log.

## Who and what did something
actor-token = la clé propre au site
actor-source = la source { $source }
actor-agent = le système de restauration
actor-appliance = l’appliance
trigger-person = une personne
trigger-attestation = une attestation
trigger-source = la source { $source }
trigger-drill = un exercice

## Jobs
tab-jobs = Tâches
jobs-none = Aucune tâche ne correspond.
jobs-open = Ouverte
jobs-any = Toutes
jobs-state = État
jobs-states = Tâches par état
jobs-endpoint = Poste
jobs-trigger = Demandée par
jobs-sort-newest = plus récentes d’abord
jobs-sort-oldest = plus anciennes d’abord
jobs-sort-longest = plus longues d’abord
jobs-capture = capture
button-retry = Réessayer

## What happened in a job
steps-title =
    { $n ->
        [one] Ce qui s’est passé ({ $n } étape)
       *[other] Ce qui s’est passé ({ $n } étapes)
    }
steps-when = Quand
steps-what = Quoi
steps-took = Après
steps-who = Qui
steps-entry = Entrée
steps-help = « Après » dit combien de temps l’état précédent a duré ; l’entrée est celle du journal de preuves qui le dit.
code-tick-event = son délai était écoulé
code-restarted-event = l’appliance a redémarré
code-admission-event = les garde-fous ont répondu
code-done-event = l’action de l’appliance est terminée
code-agent-hello-event = le système de restauration s’est annoncé
code-pairing-shown-event = il affiche un code d’appairage
code-hardware-proven-event = son matériel est prouvé
code-order-asked-event = le système de restauration a demandé son ordre
code-reported-event = le système de restauration a fait rapport
code-captured-event = le disque est dans le stockage
code-golden-hello-event = le système restauré s’est annoncé
code-golden-proven-event = le système restauré est prouvé
code-certified-event = un certificat a été émis
code-enrolment-later-event = l’émetteur de certificats répond : plus tard
code-enrolled-event = il détient son certificat
code-refused-event = refusé
code-differs-event = un autre TPM ou micrologiciel que celui enregistré
code-approve-event = une personne a approuvé
code-resume-event = une personne l’a laissée reprendre
code-site-stop-event = STOP a été pressé
code-break-glass-event = une personne l’a laissée reprendre sans approbation
code-cancel-event = une personne l’a arrêtée

## The evidence log
tab-evidence = Preuves
evidence-what =
    { $n ->
        [one] Le journal a { $n } entrée ; nul ne peut la modifier ou la retirer sans que cela se voie.
       *[other] Le journal a { $n } entrées ; nul ne peut en modifier ou en retirer une sans que cela se voie.
    }
evidence-none = Aucune entrée ne correspond.
evidence-looked = Recherche faite jusqu’à l’entrée { $entry } ; la page suivante reprend de là.
evidence-kind = Nature
evidence-by = Par (personne)
evidence-from = Du (UTC)
evidence-to = Au (UTC)
evidence-job = Tâche
evidence-hash = Empreinte (feuille de l’arbre du journal)
evidence-proof = Preuve qu’elle est dans le journal
evidence-text = L’entrée en fichier
evidence-entry = Entrée { $entry }
verify-title = Le journal de preuves, vérifié
verify-button = Vérifier
verify-good = tel qu’écrit
verify-bad = pas tel qu’écrit
verify-all = { $entries } entrées sont telles qu’écrites, et { $checkpoints } points de contrôle signés concordent.
verify-held = Ancrages comparés : { $n }.
verify-first = La première entrée fautive est { $entry }.
verify-now = Garder la base telle quelle, prendre un export et la sauvegarde la plus récente, et comparer ; tenir la suite pour non prouvée.
verify-took = Cela a pris { $took }.
verify-elsewhere = Qui a pu modifier le journal a peut-être modifié l’appliance : depuis un autre ordinateur, vérifiez avec

## Refusals
code-bad-state-what = Aucune tâche n’est jamais dans cet état.
code-bad-state-now = Choisissez un état de la liste.
code-bad-time-what = L’heure n’est pas compréhensible.
code-bad-time-now = Écrivez-la comme 2026-11-30 ou 2026-11-30T13:05, en UTC.
code-nothing-to-retry-what = La tâche a abouti : il n’y a rien à réessayer.
code-nothing-to-retry-now = Demandez une nouvelle restauration si vous en voulez une.
code-retry-elsewhere-what = Une capture ou un exercice se relance là où il a commencé.
code-retry-elsewhere-now = Redemandez la capture, ou relancez le runbook.
