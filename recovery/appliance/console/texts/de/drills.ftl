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
drill-code-title = { $endpoint } zeigt einen Code
drill-code-why = Gehen Sie hin und lesen Sie die vier Ziffern auf seinem Bildschirm. Bevor sie stimmen, wird nichts darauf geschrieben; nach drei falschen geht die Übung ohne es weiter.
drill-code-field = Der Code auf seinem Bildschirm
drill-code-send = Das ist er
report-title = Bericht
report-languages = Berichte gibt es auf Englisch und Deutsch. Was im Protokoll steht und was Menschen schrieben, bleibt, wie es geschrieben wurde.
report-page = Seite
zones-title = Zonen
zones-lead = Was Nachweise und Erklärungen von jeder Zone zeigen. Es stützt eine Beurteilung und ist keine; das erste Level ist gezeigt, das zweite möglich.
zones-none = Die Appliance kennt keine Zonen. Schreiben Sie eine Datei der Zonen und nennen Sie sie in der Konfiguration als { $key }:
zones-aim = Ziel
zones-shown = Gezeigt – möglich
zones-way = Im Weg
zones-met = Erreicht
zones-unproven = Unbewiesen
zones-gap = Lücke
zones-drill = Übung planen
zones-to-do = Was zu tun ist, und wessen Pflicht es ist
zones-months = Monate des Sicherheitsprogramms
zones-pack = Ein Monat mit seinen Nachweisen und Beweisen in einer unterschriebenen Datei:
zones-components = Die Appliance als Komponente
zones-link = Zonen, Monate und ihre Berichte
