drills-calendar = Calendrier des exercices
drills-calendar-empty = Aucune planification n'est enregistrée : rien n'arrive jamais à échéance. Ajoutez-en une :
drills-due-on = échéance le { $day }
drills-last-by = dernier : { $by }, le { $day }
drills-no-window = ne commence que si quelqu'un le lance
drills-windows = peut commencer seul : { $windows }
drills-readiness = État de préparation
drills-proven-of = { $proven } postes matériels sur { $all } ont été rétablis avec preuve au cours des six derniers mois.
drills-never =
    { $count ->
        [one] Jamais prouvé : un poste
       *[other] Jamais prouvés : { $count } postes
    }
drills-overdue = Preuve trop ancienne
drills-virtual-proves-nothing = Un poste virtuel prouve la procédure, pas le matériel ; il n'est pas compté.
drills-actions =
    { $count ->
        [one] À corriger : un point
       *[other] À corriger : { $count } points
    }
drills-actions-close = Un point se clôt lorsque le même runbook réussit sur la même classe, et d'aucune autre façon.
drills-stands-never = Jamais prouvé
drills-stands-overdue = En retard
drills-stands-soon = Échéance proche
drills-stands-fine = Prouvé
