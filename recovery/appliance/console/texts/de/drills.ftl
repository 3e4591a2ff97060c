drills-calendar = Übungskalender
drills-calendar-empty = Es ist kein Zeitplan hinterlegt, darum wird nie etwas fällig. Legen Sie einen an:
drills-due-on = fällig am { $day }
drills-last-by = zuletzt durch { $by } am { $day }
drills-no-window = beginnt nur, wenn jemand sie startet
drills-windows = darf von selbst beginnen: { $windows }
drills-readiness = Bereitschaft
drills-proven-of = { $proven } von { $all } Endgeräten auf Hardware wurden im letzten halben Jahr nachweislich wiederhergestellt.
drills-never =
    { $count ->
        [one] Nie nachgewiesen: ein Endgerät
       *[other] Nie nachgewiesen: { $count } Endgeräte
    }
drills-overdue = Nachweis zu alt
drills-virtual-proves-nothing = Ein virtuelles Endgerät belegt den Ablauf, aber keine Hardware; es zählt hier nicht mit.
drills-actions =
    { $count ->
        [one] Zu beheben: ein Punkt
       *[other] Zu beheben: { $count } Punkte
    }
drills-actions-close = Ein Punkt schließt sich, wenn dasselbe Runbook auf derselben Klasse besteht, und auf keinem anderen Weg.
drills-stands-never = Nie nachgewiesen
drills-stands-overdue = Überfällig
drills-stands-soon = Bald fällig
drills-stands-fine = Nachgewiesen
