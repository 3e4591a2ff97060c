# What happened: jobs and the evidence log.

## Who and what did something
actor-token = der eigene Schlüssel des Standorts
actor-source = die Quelle { $source }
actor-agent = das Wiederherstellungssystem
actor-appliance = die Appliance
trigger-person = einer Person
trigger-attestation = einer Attestierung
trigger-source = der Quelle { $source }
trigger-drill = einer Übung

## Jobs
tab-jobs = Aufträge
jobs-none = Kein Auftrag ist so.
jobs-open = Offen
jobs-any = Alle
jobs-state = Zustand
jobs-states = Aufträge nach Zustand
jobs-endpoint = Endgerät
jobs-trigger = Angefordert von
jobs-sort-newest = neueste zuerst
jobs-sort-oldest = älteste zuerst
jobs-sort-longest = längste zuerst
jobs-capture = Einlesen
button-retry = Noch einmal

## What happened in a job
steps-title =
    { $n ->
        [one] Was geschah ({ $n } Schritt)
       *[other] Was geschah ({ $n } Schritte)
    }
steps-when = Wann
steps-what = Was
steps-took = Nach
steps-who = Wer
steps-entry = Eintrag
steps-help = „Nach“ sagt, wie lange der Zustand davor gedauert hatte; der Eintrag ist der des Nachweisprotokolls, der es sagt.
code-tick-event = die Zeit war um
code-restarted-event = die Appliance startete neu
code-admission-event = die Schutzregeln antworteten
code-done-event = die Handlung der Appliance endete
code-agent-hello-event = das Wiederherstellungssystem meldete sich
code-pairing-shown-event = es zeigt einen Kopplungscode
code-hardware-proven-event = die Hardware ist nachgewiesen
code-order-asked-event = das Wiederherstellungssystem fragte nach dem Auftrag
code-reported-event = das Wiederherstellungssystem berichtete
code-captured-event = der Datenträger liegt im Speicher
code-golden-hello-event = das wiederhergestellte System meldete sich
code-golden-proven-event = das wiederhergestellte System ist nachgewiesen
code-certified-event = ein Zertifikat wurde ausgestellt
code-enrolment-later-event = die Zertifizierungsstelle sagt: später
code-enrolled-event = es hat sein Zertifikat
code-refused-event = es wurde abgewiesen
code-differs-event = anderes TPM oder andere Firmware als erfasst
code-approve-event = eine Person gab es frei
code-resume-event = eine Person ließ es weitergehen
code-site-stop-event = STOPP wurde gedrückt
code-break-glass-event = eine Person ließ es ohne Freigabe weitergehen
code-cancel-event = eine Person brach es ab

## The evidence log
tab-evidence = Nachweise
evidence-what =
    { $n ->
        [one] Das Protokoll hat { $n } Eintrag; niemand kann ihn unbemerkt ändern oder entfernen.
       *[other] Das Protokoll hat { $n } Einträge; niemand kann einen unbemerkt ändern oder entfernen.
    }
evidence-none = Kein Eintrag ist so.
evidence-looked = Zurück bis Eintrag { $entry } gesucht; die nächste Seite geht dort weiter.
evidence-kind = Art
evidence-by = Von (Person)
evidence-from = Von (UTC)
evidence-to = Bis (UTC)
evidence-job = Auftrag
evidence-hash = Hash (Blatt des Protokollbaums)
evidence-proof = Nachweis, dass er im Protokoll steht
evidence-text = Der Eintrag als Datei
evidence-entry = Eintrag { $entry }
verify-title = Das Nachweisprotokoll, geprüft
verify-button = Prüfen
verify-good = wie geschrieben
verify-bad = nicht wie geschrieben
verify-all = { $entries } Einträge sind, wie sie geschrieben wurden, und { $checkpoints } signierte Prüfpunkte stimmen.
verify-held = Dagegen gehaltene Anker: { $n }.
verify-first = Der erste schlechte Eintrag ist { $entry }.
verify-now = Die Datenbank lassen, wie sie ist; einen Export und die neueste Sicherung nehmen und vergleichen; was folgt, gilt als nicht nachgewiesen.
verify-took = Es dauerte { $took }.
verify-elsewhere = Wer das Protokoll ändern konnte, hat vielleicht die Appliance geändert: von einem anderen Rechner aus prüfen mit

## Refusals
code-bad-state-what = In diesem Zustand ist kein Auftrag je.
code-bad-state-now = Einen Zustand aus der Liste wählen.
code-bad-time-what = Die Zeit ist nicht zu verstehen.
code-bad-time-now = Als 2026-11-30 oder 2026-11-30T13:05 schreiben, in UTC.
code-nothing-to-retry-what = Der Auftrag ist gelungen: es gibt nichts zu wiederholen.
code-nothing-to-retry-now = Bei Bedarf eine neue Wiederherstellung anfordern.
code-retry-elsewhere-what = Ein Einlesen oder eine Übung wird dort neu begonnen, wo es begann.
code-retry-elsewhere-now = Das Einlesen neu anfordern oder das Runbook neu beginnen.
