# Golden images and their channels.
tab-images = Abbilder
images-none = Kein Referenzabbild liegt im Speicher. Auf der Appliance einführen:
image-title = Abbild { $name } { $version }
image-unreadable = Ein Manifest, das nicht lesbar ist
image-trusted = vertraut
image-not-trusted = nicht vertraut
stage-of-candidate = Kandidat
stage-of-approved = freigegeben
stage-of-retired = zurückgezogen
image-version = Version
image-epoch = Epoche
image-state = Zustand
image-used = Wo es verwendet wird
image-unused = derzeit in keiner Vorlage
image-follow =
    { $n ->
        [one] { $n } Endgerät
       *[other] { $n } Endgeräte
    }
image-runs =
    { $n ->
        [one] { $n } Endgerät wurde zuletzt darauf wiederhergestellt.
       *[other] { $n } Endgeräte wurden zuletzt darauf wiederhergestellt.
    }
image-jobs = Aufträge mit diesem Abbild
image-digest = Hash des Manifests
image-data = Daten darauf
image-made = Erstellt am
image-hardware = Für Hardware
image-note = Was der Ersteller schrieb
image-signatures =
    { $n ->
        [one] Wer es signiert hat ({ $n } Signatur)
       *[other] Wer es signiert hat ({ $n } Signaturen)
    }
image-unsigned = Niemand hat es signiert. Signierende tun es mit
signature-counts = zählt
signature-not = zählt nicht
channel-title = Was über Abbilder dieses Namens gesagt wurde
channel-not-used = Kein Schlüssel der Vertrauenswurzel befördert Abbilder: von den vertrauten gilt das mit der höchsten Epoche.
channel-nothing-said = Niemand hat ein Abbild dieses Namens befördert.
channel-last = Zuletzt gesagt: { $stage }, Epoche { $epoch }, von { $author },
promote-title = Befördern
promote-how = Auf der Appliance liegt kein Schlüssel, der Abbilder befördert. Wer einen hat, signiert mit { $command } und fügt die Datei hier ein.
promote-statement = Die signierte Beförderung
promote-button = Einreichen
promote-refused = Abgewiesen werden: eine, die älter ist als die letzte hier; eine von einem Schlüssel, den die Vertrauenswurzel nicht führt; und die Freigabe eines nicht vertrauten Abbilds.
code-permission-images-words = ein Abbild befördern

## Refusals
code-bad-image-what = Dies ist keine Kennung eines Abbilds.
code-bad-image-now = Das Abbild aus der Liste öffnen.
code-unknown-image-what = Dieses Abbild liegt nicht im Speicher.
code-unknown-image-now = In der Liste der Abbilder suchen.
code-bad-statement-what = Dies ist keine signierte Beförderung dieses Namens.
code-bad-statement-now = Einfügen, was signiert wurde, ganz und unverändert.
code-channel-moved-what = Seit Sie hinsahen, kam eine andere Beförderung.
code-channel-moved-now = Das Abbild noch einmal ansehen und neu entscheiden.
code-channel-rolled-back-what = Die Beförderung ist älter als die letzte hier.
code-channel-rolled-back-now = Eine frühere Anordnung kommt nicht zurück: neu signieren lassen.
code-statement-refused-what = Kein Schlüssel, der hier Abbilder befördert, hat es signiert.
code-statement-refused-now = Von einem Schlüssel signieren lassen, den die Vertrauenswurzel dafür führt.
