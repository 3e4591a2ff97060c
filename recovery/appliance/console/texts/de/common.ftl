decimal-sign = ,
duration-seconds = { $s } s
duration-minutes = { $m } min { $s } s
duration-hours = { $h } h { $m } min
byte-unit = B
rate-per-second = { $bytes }/s
bytes-of = { $done } von { $total }
never = nie
go-back = Zurück
no-back = Nein, zurück
why-field = Warum? (kommt in den Nachweis, darf leer bleiben)
state-discovered = Entdeckt
state-known = Bekannt
state-trusted = Vertrauenswürdig
state-suspect = Verdächtig
state-recovering = In Wiederherstellung
state-held = Braucht Sie
job-working = Läuft
job-held = Angehalten
job-recovered = Wiederhergestellt
job-captured = Eingelesen
job-cancelled = Abgebrochen
job-failed = Fehlgeschlagen
stretch-approve = Freigabe
stretch-network = Start aus dem Netz
stretch-prove = Hardware nachweisen
stretch-write = Referenzabbild schreiben
stretch-start = Wiederhergestelltes System starten
stretch-enrol = Registrieren
stretch-read = Datenträger einlesen
stretch-own = Eigenes System wieder starten
stretch-ahead = kommt noch
stretch-now = jetzt
stretch-stopped = hier angehalten
stretch-done = fertig
stage-proposed = angefordert
stage-admitted = gegen die Schutzregeln geprüft
stage-approved = freigegeben
stage-fenced = alte Identität gesperrt
stage-ticketed = Startberechtigung erteilt
stage-powering = Start aus dem Netz wird ausgelöst
stage-agent-wait = Warten auf das Wiederherstellungssystem
stage-proving = Hardware wird nachgewiesen
stage-capturing = Datenträger wird eingelesen
stage-imaging = Referenzabbild wird geschrieben
stage-read-back = Rücklesen
stage-disarming = Startberechtigung entzogen, Neustart
stage-os-wait = Warten auf das wiederhergestellte System
stage-verifying = wiederhergestelltes System wird geprüft
stage-enrolling = Registrierung
stage-registering = Meldung an die Control Plane
stage-releasing = Quarantäne wird aufgehoben
activity-scanning = Datenträger wird gelesen
activity-writing = Schreiben
activity-reading-back = Rücklesen
activity-erasing = Datenträger wird gelöscht
activity-keeping = Sichern, was die Ursache zeigen kann
role-technician = Techniker
role-engineer = Ingenieur
role-approver = Freigeber
role-auditor = Prüfer
role-admin = Administrator
role-automation = Automat
or-word = oder
why-not-role = Sie sind hier { $role } und dürfen das nicht: { $what }. Fragen Sie jemanden mit der Rolle { $who }.
why-not-nothing = Dahinter steht nichts.
drill-word = ÜBUNG
drill-not-real = Probe: Nichts in der Produktion wird berührt.
stop-banner = STOPP gilt.
stop-banner-more = Keine Wiederherstellung beginnt; was gerade schreibt, hält mit der nächsten Meldung an.
stop-banner-link = Wer, warum und wie man es aufhebt
stop-one-more = { $by } hat aufgehoben. Noch eine Person muss es bis { $moment } tun.
stop-title = STOPP für den ganzen Standort
stop-what = Jede Wiederherstellung, die noch schalten oder schreiben könnte, wird angehalten, und keine beginnt, bis zwei Personen aufgehoben haben.
stop-disks = Ein Endgerät mit halb geschriebenem Datenträger startet erst, wenn sein Auftrag fortgesetzt wird. Ist der Datenträger unberührt, startet es wie bisher.
stop-stands = STOPP gilt
stop-pressed = { $by } hat es um { $moment } gedrückt, vor { $time }.
stop-no-reason = Es wurde kein Grund genannt.
stop-held =
    { $n ->
        [one] { $n } Auftrag wurde dadurch angehalten.
       *[other] { $n } Aufträge wurden dadurch angehalten.
    } Nach dem Aufheben werden sie einzeln fortgesetzt.
stop-goes-on = Das läuft trotzdem weiter:
stop-now-second = { $by } hat aufgehoben: { $reason } Eine zweite Person muss es auch, bis { $moment }.
stop-now-first = Ursache klären. Dann heben zwei Personen auf, jede unter eigenem Namen.
stop-found = Was gefunden wurde und warum es weitergehen darf
stop-release = STOPP aufheben
stop-again = Noch einmal STOPP
stop-again-what = Nochmals gedrückt, verfällt eine bereits gegebene Aufhebung.
stop-own-release = Eine andere Person muss auch aufheben: Die erste Aufhebung kam von Ihnen.
glass-banner = Das Glas wurde eingeschlagen.
glass-banner-late = Das Glas wurde eingeschlagen, und niemand hat rechtzeitig nachgesehen.
glass-count =
    { $n ->
        [one] { $n } Wiederherstellung lief ohne Freigabe weiter.
       *[other] { $n } Wiederherstellungen liefen ohne Freigabe weiter.
    }
glass-link = Wer, warum und was eine andere Person sagt
glass-nobody = Niemand ist da, um freizugeben
glass-what = Die Wiederherstellung darf ohne die zweite Person beginnen. Das ist ein Alarm, steht unter Ihrem Namen und wird innerhalb von 24 Stunden von einer anderen Person geprüft. Schutzregeln, STOPP und die Erlaubnis der Maschine gelten weiter.
glass-happened = Was geschehen ist
glass-break = Glas einschlagen
glass-mark = { $by } hat es ohne die nötige Freigabe weiterlaufen lassen.
glass-review = Prüfen
glass-title = Eingeschlagenes Glas
glass-none = Nichts wartet auf eine Prüfung.
glass-began = { $by } hat die Wiederherstellung um { $moment } ohne Freigabe begonnen:
glass-overdue = Überfällig seit { $moment }.
glass-due = Zu prüfen bis { $moment }.
glass-job = Der Auftrag und seine Nachweise
glass-own = Eine andere Person muss prüfen: Dieses Glas haben Sie selbst eingeschlagen.
glass-found = Was Sie festgestellt haben
glass-right = Es war richtig
glass-wrong = Es war nicht richtig
plans-title = Dauerhafte Pläne
plans-what = Ein Plan ist eine Freigabe, die zwei Personen im Voraus geben: Eine Wiederherstellung, die nachts darauf warten würde, beginnt von selbst. Er gilt für die genannten Endgeräte und das genannte Abbild, wie sie waren; ändert sich daran etwas, verfällt er.
plans-none = Es gibt keinen. Einer wird auf der Kommandozeile angelegt:
plans-try = Eine andere Konfiguration an früheren Meldungen ausprobieren
plan-proposed = freizugeben
plan-standing = gilt
plan-over = beendet
plan-any-time = jederzeit
plan-whom = Für wen
plan-endpoints =
    { $n ->
        [one] { $n } Endgerät
       *[other] { $n } Endgeräte
    }: { $names }
fig-image = Abbild
plan-begun-by = Ausgelöst durch
plan-trigger = einen bestätigten Integritätsfehler von { $triggers }
col-when = Wann
plan-day = Innerhalb von 24 Stunden
plan-of = { $n } von { $most }
plan-made-by = Erstellt von
by-at = { $by } um { $moment }
plan-approved-by = Freigegeben von
nobody-yet = noch niemand
plan-ends = Endet
plan-own = Eine andere Person muss freigeben: Sie haben ihn erstellt oder schon freigegeben.
plan-withdraw = Zurückziehen
policy-title = Eine Richtlinie ausprobieren
policy-what = Was eine andere Konfiguration aus früheren Meldungen gemacht hätte. Nichts davon wird wirksam.
policy-config = Konfiguration, wie in der Datei der Appliance
policy-days = Tage zurück
policy-try = Ausprobieren
policy-begun = { $n } hätten von selbst begonnen
policy-reports =
    { $n ->
        [one] Meldungen in { $n } Tag
       *[other] Meldungen in { $n } Tagen
    }
policy-begin = Hätten von selbst begonnen
policy-ask = Hätten eine Person gefragt
policy-quarantine = Endgeräte nicht mehr vertrauenswürdig
policy-join = An laufende Wiederherstellung angehängt
policy-nothing = Nichts
policy-region = Was getan worden wäre
col-endpoint = Endgerät
col-source = Quelle
col-would = Folge
col-because = Weil
policy-because = Nichts, weil
policy-left-out =
    { $n ->
        [one] { $n } ältere Meldung wurde ausgelassen.
       *[other] { $n } ältere Meldungen wurden ausgelassen.
    }
policy-not-replayed = Nicht nachgespielt
drills-none = Keine seit dem Start der Appliance.
drill-passed = { $n } von { $all } Schritten bestanden
drill-start-title = Eine Übung starten
drill-none-safe = Kein Endgerät darf geübt werden. Erfassen Sie ein Prüfstand-, Ersatzplatten- oder virtuelles Endgerät als übungssicher:
drill-runbook = Runbook
drill-really = Eine Übung schreibt nur auf Endgeräte, die geübt werden dürfen. Auf diese schreibt sie wirklich.
drill-start = Übung starten
drill-recoveries = Wiederherstellungen dieser Übung
drill-who = Wer es getan hat, falls nicht Sie
drill-note = Notiz (kommt in den Bericht, darf leer bleiben)
yes-word = Ja
no-word = Nein
drill-running = Läuft
drill-waiting = Wartet auf eine Person
drill-succeeded = Erfolgreich
drill-partly = Teilweise erfolgreich
drill-failed = Fehlgeschlagen
drill-stopped = Angehalten
step-passed = bestanden
step-failed = fehlgeschlagen
step-running = läuft
step-waiting = wartet auf eine Person
step-ahead = kommt noch
step-skipped = übersprungen
boot-title = Sein Netzstart
boot-chain = Kette { $chain }
boot-offered = angeboten { $offer }
boot-began = begann { $moment }
col-after = Nach
col-step = Schritt
col-outcome = Ergebnis
col-what = Was
boot-before = Davor, { $moment }:
boot-foreign = Ein anderer Server im Startnetz
boot-on = { $server } an { $interface }:
last-heard = Zuletzt gehört { $moment }
boot-twice = Eine Adresse ist doppelt vergeben, oder könnte es sein
boot-used-by = { $address } wird von { $mac } ohne Zuteilung benutzt:
