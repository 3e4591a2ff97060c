hold-seconds = { $s } s halten
hold-started = Gestartet
hold-to-recover = Halten zum Wiederherstellen
hold-help = 3 Sekunden halten. Loslassen bricht ab.
endpoint-refused = Es wurde abgewiesen
endpoint-refused-stands = Das steht hier, bis es sich nachweist. Jede Abweisung steht mit Zeit im Nachweis.
conflict-title = Wer ist das?
conflict-came = Ein anderes kam mit einer Adresse von { $endpoint }:
conflict-times =
    { $n ->
        [one] { $n }-mal
       *[other] { $n }-mal
    } seit { $moment }
conflict-say = Es wird erst wiederhergestellt, wenn Sie sagen, welches es ist. Haben Sie nichts umgesteckt oder getauscht, trennen Sie das andere.
conflict-keep = Das erfasste bleibt; das andere abweisen
conflict-replace = Seine Hardware wurde durch diese ersetzt
pair-title = Steht dieser Code auf seinem Bildschirm?
pair-why = Das Endgerät hat kein TPM zum Nachweis. Vergleichen Sie den Code mit dem Bildschirm von { $endpoint }.
pair-yes = Ja, die Codes sind gleich
pair-differ = Falls nicht: Endgerät trennen. Ein anderes antwortet vielleicht in seinem Namen.
last-recovery = Letzte Wiederherstellung
took = dauerte { $time }
open-job = Auftrag öffnen
unknown-why = Es wurde gesehen und ist nicht erfasst: Es startet von seinem Datenträger und bekommt nichts. Erfassen Sie es; dann kann es wiederhergestellt werden.
unknown-forget = Oder vergessen:
recover-title = { $endpoint } wiederherstellen
recover-lost = Alles auf dem Datenträger wird durch das Referenzabbild von { $blueprint } ersetzt. Nichts davon bleibt.
recover-would-wait = Es würde warten:
last-time = Letztes Mal dauerte es { $time }.
recover-sure = { $endpoint } wiederherstellen?
yes-recover = Ja, { $endpoint } wiederherstellen
all-of-job = Der ganze Auftrag mit seinen Nachweisen
tpm-weaker = Dem TPM wird seit der ersten freigegebenen Wiederherstellung geglaubt: ein schwächerer Beweis als der des Herstellers.
facts-title = Was es ist
fact-kind = Art
fact-safety = Sicherheitsklasse
fact-redundancy = Redundanzgruppe
fact-ethernet = Ethernet
fact-docked = (Dock oder USB-Adapter: weist niemanden aus)
none-on-record = keins erfasst
fact-maker = Hersteller des TPM
fact-chain = Startkette
fact-certificate = Zertifikat
not-enrolled = nicht registriert
fact-seen = Zuletzt gesehen
fact-proof = Letzter Nachweis
may-be-drilled = darf geübt werden
never-drilled = wird nie geübt
fact-serial = Seriennummer
fact-firmware = Firmware
fact-memory = Arbeitsspeicher
fact-disk = Datenträger
disk-serial = Seriennummer { $serial }
disk-path = an { $path }
disk-removable = (wechselbar: wird nie beschrieben)
disk-health = Zustand: { $health }
disk-erase = kann sich selbst löschen durch: { $by }
hardware-title = Woraus es besteht, wer es meldete und wann
hardware-region = Hardwareangaben
col-has = Es hat
col-as = Als
col-since = Seit
col-told = Gemeldet von
col-last = Zuletzt
hardware-unknown = Was niemand gemeldet hat, steht nicht hier: Unbekannt ist nicht null.
told-recovery = das Wiederherstellungssystem
told-restored = das System auf seinem Datenträger
fw-bios = BIOS
fw-uefi = UEFI, Secure Boot aus
fw-uefi-secure = UEFI, Secure Boot ein
none-meant = Darauf trifft keines zu.
show-all = Alle zeigen
glass-mark-short = GLAS EINGESCHLAGEN
row-conflict = Ein anderes kam mit seiner Adresse. Öffnen und sagen, welches es ist.
row-since = Angefordert vor { $time }.
row-suspect = Seine Integrität ist zweifelhaft. Öffnen und entscheiden.
row-discovered = Im Netz gesehen, nicht erfasst. Es bekommt nichts.
row-proved = Zuletzt nachgewiesen um { $moment }.
row-enrolled = Registriert.
row-known = Erfasst, nicht registriert.
net-refused = Im Startnetz abgewiesen
net-refused-times =
    { $n ->
        [one] { $n }-mal
       *[other] { $n }-mal
    }, zuletzt um { $moment } von { $from }.
none-yet = Noch kein Endgerät
none-yet-put = Erfassen Sie eines auf der Appliance:
none-yet-boot = Oder lassen Sie eines aus dem Netz starten: Es erscheint hier als entdeckt.
capture-of = Einlesen von { $endpoint }
recovery-of = Wiederherstellung von { $endpoint }
asked-by = angefordert von { $trigger }
job-id = Auftrag { $job }
image-id = Abbild { $image }
limit-says = Bewegt sich nichts, hält es um { $moment } an und sagt, warum.
preserved-given-up = Geschützte Partitionen werden aufgegeben.
preserved-given-up-more = Was das Endgerät darauf hat, wird mit dem Inhalt des Abbilds überschrieben.
button-approve = Freigeben
button-go-on = Fortsetzen
button-give-up = Aufgeben
button-stop = Anhalten
button-cancel = Abbrechen
stop-sure = Wiederherstellung von { $endpoint } anhalten?
stop-late = Der Datenträger wird gerade geschrieben: { $endpoint } startet erst, wenn die Wiederherstellung fertig ist.
stop-early = Der Datenträger ist bisher unberührt.
yes-stop = Ja, anhalten
plan-result = Plan und Ergebnis
fig-keep = Schon richtig
fig-preserved = Bewahrt, vorher und nachher geprüft
fig-move = An anderer Stelle des Datenträgers
fig-fetch = Zu holen
in-chunks =
    { $n ->
        [one] { $bytes } in { $n } Block
       *[other] { $bytes } in { $n } Blöcken
    }
fig-zero = Zu nullen
fig-health = Zustand des Datenträgers
fig-erased = Datenträger gelöscht
fig-wire = Über das Netz
fig-written = Geschrieben
fig-read-back = Rückgelesen, gleich
fig-boot-entry = Starteintrag der Firmware
entry-kept = war richtig
entry-set = gesetzt
entry-refused = von der Firmware abgelehnt: prüfen, ob es von selbst von diesem Datenträger startet
exhibit-choice = Erst sichern, was die Ursache zeigen kann; höchstens eine Minute
exhibit-title = Vom alten System gesichert
exhibit-will = Was die Ursache zeigen kann, wird gesichert, bevor etwas geschrieben wird.
exhibit-ordered = Das Endgerät soll es sichern, in höchstens { $seconds } s; was daraus wurde, hat es noch nicht gesagt.
exhibit-kept = Es liegt auf der Appliance, getrennt von den Abbildern, und wird nie zurückgespielt.
exhibit-nothing = Es wurde nichts gesichert; die Wiederherstellung ging weiter.
exhibit-deleted = Gelöscht von { $by }; der Eintrag bleibt.
exhibit-bytes = Größe
exhibit-files = Dateien
exhibit-took = Dauer
exhibit-until = Wird gelöscht
exhibit-cut =
    { $n ->
        [one] { $n } Sache wurde weggelassen
       *[other] { $n } Sachen wurden weggelassen
    }
captured-title = Was eingelesen wurde
fig-kept = Behalten
fig-free = Frei, ausgelassen
captured-look = Vor dem Signieren ansehen
phases-title = Phasen
col-phase = Phase
col-time = Dauer
in-all = Insgesamt
evidence-title =
    { $n ->
        [one] Nachweise ({ $n } Eintrag)
       *[other] Nachweise ({ $n } Einträge)
    }
evidence-check = Das ganze Protokoll prüfen mit { $command }.
said-recovered = { $endpoint } läuft wieder mit { $image } und hat es nachgewiesen.
said-recovered-plane = Der Datenträger von { $endpoint } ist wieder { $image }, zurückgelesen. Dass es läuft, ist das Wort einer Control Plane und kein Nachweis.
said-recovered-person = Der Datenträger von { $endpoint } ist wieder { $image }, zurückgelesen. Dass es läuft, ist das Wort einer Person und kein Nachweis.
said-captured = Der Datenträger von { $endpoint } liegt als { $image } im Speicher.
now-sign = Lassen Sie es von den Signierenden signieren.
said-given-up = Aufgegeben in der Phase „{ $stage }“.
said-untouched = Angehalten in der Phase „{ $stage }“; der Datenträger wurde nicht berührt.
now-order-new = Das Endgerät startet jetzt nicht; ordnen Sie eine neue Wiederherstellung an.
now-failed = Der Auftrag wurde aufgegeben; ordnen Sie eine neue Wiederherstellung an, wenn die Ursache behoben ist.
now-by-hand = Endgerät aus- und einschalten und in der Firmware den Netzstart wählen.
record-says = Im Protokoll steht:
scan-title = Welche Maschine?
scan-how = Code an der Maschine scannen oder in der Liste antippen.
scan-field = Code an der Maschine
scan-open = Öffnen
scan-camera = Mit der Kamera scannen
scan-camera-stop = Kamera stoppen
scan-no-camera = Dieser Browser liest keine Codes. Scanner und Liste funktionieren.
scan-camera-refused = Die Kamera ist nicht verfügbar. Scanner und Liste funktionieren.
scan-unreadable = Das ist kein Maschinencode. Noch einmal scannen oder in der Liste antippen.
scan-tab = Scannen
scan-list = Maschinen
line-named = Linie { $line }
photo-of = Bild von { $endpoint }
photo-none = Noch kein Bild
photo-title = Bild der Maschine
photo-what = Ein Techniker vergleicht es mit dem, was vor ihm steht. JPEG, PNG oder WebP, höchstens 512 KiB.
photo-file = Bilddatei
photo-send = Dieses Bild verwenden
photo-remove = Bild entfernen
machine-this = Ist es diese Maschine?
machine-compare = Bild und Name mit der Maschine vor Ihnen vergleichen.
machine-yes = Ja, diese Maschine
machine-no = Nein, eine andere
saved-state = Gespeicherter Stand: { $image }
saved-age =
    { $n ->
        [one] vor { $n } Tag gespeichert
       *[other] vor { $n } Tagen gespeichert
    }
saved-today = heute gespeichert
saved-none = Es gibt keinen gespeicherten Stand, zu dem sie zurückkehren könnte.
usual-time = Meist { $from }, neun von zehn innerhalb von { $to } ({ $n } Wiederherstellungen)
usual-unknown =
    { $n ->
        [one] Die Dauer ist noch nicht bekannt: bisher { $n } Wiederherstellung
       *[other] Die Dauer ist noch nicht bekannt: bisher { $n } Wiederherstellungen
    }
safety-title = Bevor Sie beginnen
safety-0 = Von dieser Maschine hängt keine Produktion ab.
safety-1 = Die Linie merkt, wenn sie fehlt. Zuerst der Schicht Bescheid geben.
safety-2 = Andere sind darauf angewiesen. Eine zweite Person muss freigeben, bevor etwas geschrieben wird.
safety-3 = Sie ist sicherheitsrelevant. Es braucht eine zweite Person; kein Notfall hebt das auf.
safety-kind-panel = Der Bildschirm bleibt solange dunkel. Den Prozess an einem anderen Panel beobachten.
safety-kind-server = Was sie anderen liefert, fehlt solange.
safety-kind-computer = Wer daran arbeitet, muss jetzt speichern und sie verlassen.
safety-lost = Verloren: alles auf dem Datenträger seit dem gespeicherten Stand.
safety-kept = Bleibt: { $parts }
safety-nothing-kept = Bleibt: nichts darauf.
safety-tick = Die Maschine steht oder ist ohne sie sicher
safety-missing = Zuerst das Kästchen ankreuzen: Die Maschine muss stehen oder sicher sein.
walk-away = Sie können bis { $moment } weggehen
walk-late = Es dauert länger als üblich. Bildschirm ansehen.
walk-unknown = In der Nähe bleiben: Die Dauer ist noch nicht bekannt
walk-stay = Hierbleiben: Sie werden gebraucht
heard-ago = Zuletzt gehört vor { $time }
heard-never = Noch nichts gehört
live-title = Zeigt der Bildschirm aktuelle Werte?
live-what = Maschine ansehen. Ihre Antwort kommt in den Nachweis.
live-yes = Ja, aktuelle Werte
live-no = Nein
done-title = Fertig
done-what = { $endpoint } arbeitet wieder. Sie können gehen.
next-machine = Nächste Maschine
recover-again = Noch einmal wiederherstellen
not-live-title = Sie läuft mit dem gespeicherten Stand und zeigt keine aktuellen Werte
not-live-dark = Bildschirm dunkel: Strom und Bildschirmkabel prüfen.
not-live-stale = Bild ohne Werte: Netzkabel prüfen und ob die Steuerung läuft. Zwei Minuten warten.
not-live-call = Immer noch keine: Ingenieur rufen und den Code nennen.
not-live-now = Sie zeigt jetzt aktuelle Werte
phone-opens-it = Mit dem Telefon scannen: öffnet dieselbe Seite.
engineers-page = Alles zu dieser Maschine
card-print = Karte zum Drucken
card-title = Karte von { $endpoint }
card-scan = Scannen zum Wiederherstellen
card-step-1 = Maschine sichern
card-step-2 = Diesen Code scannen
card-step-3 = Bild und Name vergleichen
card-step-4 = Ankreuzen, dann 3 Sekunden halten
card-step-5 = Falls verlangt: aus- und einschalten
card-step-6 = Aktuelle Werte prüfen
card-black = Bildschirm schwarz: Einschalttaste 10 Sekunden halten.
card-phone = Rufnummer
card-unreachable = Wenn die Seite nicht öffnet
card-unreachable-1 = Das Tablet an der Linie oder ein anderes Telefon nehmen.
card-unreachable-2 = Prüfen, ob die Appliance Strom hat und die Netzlampe leuchtet.
card-unreachable-3 = Maschine lassen, wie sie ist, und anrufen. Unten eintragen.
card-log-when = Wann
card-log-who = Wer
card-log-what = Was
card-printed = Gedruckt { $date }, Karte { $version }
