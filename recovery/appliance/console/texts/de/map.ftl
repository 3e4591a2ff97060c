# The plant as a picture.
tab-map = Karte
map-picture =
    { $endpoints ->
        [one] Eine Karte von { $endpoints } Endgerät an { $places } Orten; die Tabelle darunter sagt dasselbe.
       *[other] Eine Karte von { $endpoints } Endgeräten an { $places } Orten; die Tabelle darunter sagt dasselbe.
    }
map-place = Linie / Zelle
map-elsewhere = keine Linie
map-times = Wie lange Wiederherstellungen dauerten
map-times-none = Noch ist keine Wiederherstellung gelungen.
map-count =
    { $n ->
        [one] { $n } Wiederherstellung, davon { $drills } Übungen.
       *[other] { $n } Wiederherstellungen, davon { $drills } Übungen.
    }
map-usual = Die Hälfte der echten dauerte höchstens { $p50 }, neun von zehn höchstens { $p90 }.
map-too-few = Zu wenige für eine übliche Dauer.
map-chart =
    { $n ->
        [one] { $n } Wiederherstellung im Lauf der Zeit; die längste dauerte { $longest }.
       *[other] { $n } Wiederherstellungen im Lauf der Zeit; die längste dauerte { $longest }.
    }
