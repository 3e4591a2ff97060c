# Pages for those who run the site.

## Names of pages and roles
tab-home = Start
tab-approvals = Freigaben
tab-network = Netz
tab-site = Standort
tab-more = Mehr

## What waits for somebody
home-title = Was auf jemanden wartet
home-nothing = Nichts wartet auf jemanden.
home-states = Endgeräte nach Zustand
home-all =
    { $count ->
        [one] { $count } Endgerät insgesamt
       *[other] { $count } Endgeräte insgesamt
    }
home-running =
    { $count ->
        [one] { $count } Auftrag läuft
       *[other] { $count } Aufträge laufen
    }
home-until = bis
home-for = wartet seit
home-you-may = Sie dürfen das tun.
home-they-may = Das darf: { $roles }.
home-stands = steht
home-stop =
    { $count ->
        [one] { $person } hat STOPP gedrückt; { $count } Auftrag ist dadurch angehalten.
       *[other] { $person } hat STOPP gedrückt; { $count } Aufträge sind dadurch angehalten.
    }
home-stop-next = Ursache klären; dann geben es zwei Personen frei, jede unter eigenem Namen.
home-asks = wartet auf Freigabe
home-conflict-word = wer ist das?
home-conflict = Ein anderes Gerät kam mit seiner Adresse.
home-conflict-next = Öffnen und sagen, welches es ist; bis dahin wird es nicht wiederhergestellt.
home-suspect-title =
    { $count ->
        [one] { $count } Endgerät
       *[other] { $count } Endgeräte
    }
home-suspect = Ihre Unversehrtheit ist zweifelhaft.
home-suspect-next = Jedes ansehen und wiederherstellen, oder klären, was sich geändert hat.
home-network-word = Boot-Netz
home-foreign-title = Anderer Server: { $server }
home-foreign-next = Finden und abschalten, oder vom Boot-Netz fernhalten.
home-address-next = { $by } finden und ihm eine andere Adresse geben.
home-refused-word = abgewiesen
home-refused = { $count }-mal, zuletzt von { $from }: { $why }
home-refused-next = Prüfen, ob es ins Boot-Netz gehört.
home-overdue = überfällig
home-review-word = Durchsicht fällig
home-review = { $person } begann die Wiederherstellung ohne Freigabe: { $reason }
home-review-next = Eine andere Person sagt, ob es richtig war.
home-plan =
    { $count ->
        [one] Ein stehender Plan von { $by } für { $count } Endgerät.
       *[other] Ein stehender Plan von { $by } für { $count } Endgeräte.
    }
home-plan-next = Zwei Personen geben ihn frei, oder eine zieht ihn zurück.
home-drill-word = eine Übung fragt
home-drill-next = Den Schritt beantworten.
home-due-word = fällig
home-room-title = Die Platte ist fast voll
home-room = { $free } von { $total } sind frei
home-room-next = Platz schaffen: unnötige Abbilder aufräumen, oder eine größere Platte einbauen.
home-backup-title = Sicherung
home-backup-old = Die letzte Sicherung der Appliance ist älter als eine Woche.
home-backup-none = Es ist keine Sicherung der Appliance verzeichnet.
home-backup-next = Den Zustand auf der Appliance sichern und die Datei anderswo aufbewahren.
home-drill-schedule = Nach Plan ist das Runbook { $runbook } zu üben.
home-drill-schedule-next = Auf der Seite der Übungen beginnen.
home-drill-due-title = Übung
home-drill-old = Die letzte Übung liegt mehr als ein Vierteljahr zurück.
home-drill-none = Hier wurde noch nie geübt.
home-drill-due-next =
    { $count ->
        [one] Eine durchführen: { $count } Endgerät ist dafür freigegeben.
       *[other] Eine durchführen: { $count } Endgeräte sind dafür freigegeben.
    }
home-seen-title =
    { $count ->
        [one] { $count } Endgerät wurde gesehen
       *[other] { $count } Endgeräte wurden gesehen
    }
home-seen = Sie sind im Netz und nicht verzeichnet; sie bekommen nichts.
home-seen-next = Die hierher gehören verzeichnen.

## Lists
list-words = Wörter
list-selector = Die, auf die das zutrifft
list-sort = Reihenfolge
list-sort-need = wer jemanden braucht
list-sort-name = Name
list-sort-seen = letztes Lebenszeichen
list-sort-line = Linie
list-show = Zeigen
list-found = { $count } gefunden
list-pages = Seiten
list-first = Erste Seite
list-next = Nächste Seite

## Approvals
approvals-none = Nichts wartet auf eine Freigabe.
approvals-plans =
    { $count ->
        [one] { $count } stehender Plan wartet auf Freigabe
       *[other] { $count } stehende Pläne warten auf Freigabe
    }
approvals-reviews =
    { $count ->
        [one] { $count } Wiederherstellung ohne Freigabe wartet auf Durchsicht
       *[other] { $count } Wiederherstellungen ohne Freigabe warten auf Durchsicht
    }
approvals-asked-by = { $person } hat es angefordert am
approvals-until = Aufgegeben am
approvals-second = Eine andere Person muss freigeben.
approvals-job = Der Auftrag und seine Nachweise
approvals-of = Was
approvals-now = Jetzt
approvals-then = Danach
approvals-image = Abbild
approvals-never = hier noch nie wiederhergestellt
approvals-capture = in den Speicher gelesen als { $name }
approvals-same = (dasselbe)
approvals-disk = Platte
approvals-only-disk = seine einzige Platte
approvals-read-only = wird gelesen, nicht beschrieben
approvals-erased = Zuvor gelöscht ({ $how }).
approvals-all = Alles darauf wird ersetzt, auch was das Abbild sonst bewahrt.
approvals-but-preserved = Alles darauf wird ersetzt außer dem, was das Abbild bewahrt.
approvals-mode = Art
approvals-drill = eine Übung
approvals-real = Ernstfall
approvals-reason = Warum (kommt in die Nachweise; eine Ablehnung braucht es)
approvals-approve = Freigeben
approvals-deny = Ablehnen

## The boot network
network-interfaces = Schnittstellen
network-no-interface = Keine Schnittstelle wird bedient: einen Eintrag [[interfaces]] in die Konfiguration aufnehmen.
network-observe = sie hört zu und antwortet niemandem
network-proxy = das DHCP des Standorts vergibt Adressen, die Appliance die Boot-Dateien
network-full = die Appliance vergibt Adressen und Boot-Dateien
network-foreign = Andere DHCP- und Boot-Server
network-foreign-none = Seit dem Start wurde keiner gehört.
network-in-the-way = im Weg
network-harmless = wie es sein soll
network-heard = { $count }-mal gehört an { $interface },
network-remedy-both = { $server } finden: seine Ethernet-Adresse im Switch nachschlagen. Ist es ein Router oder Laptop mit DHCP, dieses abschalten; ist es gewollt, aus diesem VLAN nehmen.
network-remedy-boots = Firmware behält das erste Boot-Angebot: Optionen 66 und 67 oder den Boot-Dienst von { $server } entfernen, oder den Endgeräten ein VLAN ohne ihn geben.
network-remedy-gives = Hier vergeben zwei Server Adressen: DHCP auf { $server } abschalten, oder diese Schnittstelle auf proxy stellen.
network-probe = Fragen, wer sonst Boots bedient
network-probe-help = Jede Schnittstelle wird gefragt; das dauert einige Sekunden.
network-boots = Boot-Vorgänge
network-boots-none = Seit dem Start wollte niemand vom Netz booten.
network-who = Wer
network-reached = Kam bis
network-matter = Was los ist
network-last = Zuletzt gesehen
network-more = und { $count } weitere
network-silent =
    { $count ->
        [one] { $count } Endgerät war nicht zu hören: zeigen
       *[other] { $count } Endgeräte waren nicht zu hören: zeigen
    }
network-boot-of = Netz-Boot von { $endpoint }
trace-title = Wie weit es kam
trace-missing = Der Schritt, der nicht kam: { $hop }.
trace-gap = das kam nicht
trace-not-reached = nicht erreicht
trace-table = Dasselbe als Tabelle
trace-hop = Schritt
trace-at = Nach
trace-took = Dauer
trace-what = Was gesehen wurde
trace-picture = Ein Boot von { $duration }, der bis { $reached } kam; die Tabelle darunter sagt dasselbe.
code-discover-hop = Anfrage
code-offer-hop = Angebot
code-file-hop = Boot-Datei
code-kernel-hop = Kernel
code-agent-hop = Agent

## The appliance itself
site-appliance = Appliance
site-version = Version
site-up = Läuft seit
site-certificates = Zertifikate
site-tls = Das eigene (TLS)
site-until = bis
site-unreadable = ist nicht lesbar
site-pin = Schlüssel, den Endgeräte festhalten (SHA-256)
site-renewed = Es wird 30 Tage vor dem Ende von selbst erneuert; der Schlüssel bleibt.
site-backup = Sicherung
site-saved = Zuletzt gesichert am
site-backup-how = Auf der Appliance, im Betrieb; die Datei ist mit einer Passphrase verschlüsselt:
site-restore-how = Auf eine leere Maschine kommt sie zurück mit
site-takeover = Wer schreibt
site-nobody-writes = Keine Appliance ist benannt; diese schreibt.
site-we-write = Diese Appliance schreibt (Amtszeit { $term }).
site-other-writes = Eine andere Appliance, { $holder }, schreibt (Amtszeit { $term }); diese ist ausgesperrt.
site-since = Seit
site-takeover-how = Eine zweite Appliance an dieser Datenbank übernimmt mit einem Befehl:
site-storage = Speicher
site-data-dir = Datenverzeichnis
site-free = Platz
site-database = Datenbank
site-images = Abbild-Speicher
site-depot = Objektspeicher
site-trouble = Störung
site-sinks = Wer die Nachweise bekommt
site-delivers = stellt zu
site-behind =
    { $count ->
        [one] { $count } Eintrag zurück
       *[other] { $count } Einträge zurück
    }
site-delivered = zuletzt am
site-dead = { $count } endgültig abgewiesen:
site-ports = Offene Ports
site-port = Port
site-purpose = Wofür
site-at = An
site-more = Mehr von diesem Standort
site-policy = Eine andere Richtlinie ausprobieren
site-reviews = Wiederherstellungen ohne Freigabe
site-metrics = Kennzahlen für ein Überwachungssystem
code-people-port = Konsole und REST
code-endpoints-port = Agenten und Registrierung
code-dhcp-port = DHCP
code-boot-server-port = Boot-Server (PXE)
code-tftp-port = TFTP
code-http-boot-port = HTTP-Boot und Abbilder
code-https-boot-port = HTTPS-Boot
code-syslog-port = was Lader melden
