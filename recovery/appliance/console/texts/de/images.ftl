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
