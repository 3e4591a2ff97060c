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
drill-code-title = { $endpoint } affiche un code
drill-code-why = Placez-vous devant et lisez les quatre chiffres de son écran. Rien n’y est écrit avant qu’ils concordent ; après trois codes faux, l’exercice continue sans lui.
drill-code-field = Le code de son écran
drill-code-send = C’est celui-ci
report-title = Rapport
report-languages = Les rapports sont en anglais et en allemand. Ce que le journal et les personnes ont écrit reste tel quel.
report-page = Page
zones-title = Zones
zones-lead = Ce que les preuves et les déclarations montrent de chaque zone. Cela aide une évaluation et n’en est pas une ; le premier niveau est montré, le second possible.
zones-none = L’appliance ne connaît aucune zone. Écrivez un fichier des zones et nommez-le { $key } dans la configuration :
zones-aim = Visé
zones-shown = Montré – possible
zones-way = Fait obstacle
zones-met = Atteint
zones-unproven = Non prouvé
zones-gap = Écart
zones-drill = Planifier un exercice
zones-to-do = Ce qui est à faire, et à qui cela revient
zones-months = Mois du programme de sécurité
zones-pack = Un mois avec ses preuves dans un seul fichier signé :
zones-components = L’appliance comme composant
zones-link = Zones, mois et leurs rapports
