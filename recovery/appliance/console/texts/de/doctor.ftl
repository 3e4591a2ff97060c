## What `groundstate doctor` looks at
code-disk-health-what = Was die eigenen Datenträger der Appliance über ihre Gesundheit sagen (`groundstate doctor`).
code-disk-health-now = smartmontools installieren, falls es fehlt. Einen Datenträger, der versagt, ersetzen, solange er noch liest: vorher sichern.
code-link-what = Ob jede Schnittstelle der Konfiguration da ist und eine Verbindung hat, auch VLANs (`groundstate doctor`).
code-link-now = Kabel einstecken, das VLAN anlegen, wie der Hinweis sagt, oder den Namen unter [[interfaces]] berichtigen.
code-depot-reach-what = Ob das Depot gelesen werden kann und ein Objekt annimmt und zurückgibt (`groundstate doctor`).
code-depot-reach-now = Den Weg zum Depot, seinen Bucket und die Rechte des Zugangsschlüssels prüfen.
code-directory-what = Ob das Verzeichnis des Standorts (LDAP) mit dem bekannten Zertifikat antwortet (`groundstate doctor`).
code-directory-now = Das Verzeichnis, sein Zertifikat und [directory] der Konfiguration prüfen. Hier erfasste Personen melden sich derweil an.
code-provider-what = Ob der OpenID-Anbieter des Standorts sich beschreibt und Schlüssel hat (`groundstate doctor`).
code-provider-now = Den Anbieter und [provider] der Konfiguration prüfen. Hier erfasste Personen melden sich derweil an.
code-agent-fetch-what = Ob das Wiederherstellungssystem mit seinem Agenten, geholt wie von einem Endgerät, das ist, was das Boot-Kit auflistet (`groundstate doctor`).
code-agent-fetch-now = Die Appliance neu starten, damit sie das Kit in seinem jetzigen Stand ausliefert; bleibt es dabei, antwortet jemand anderes unter dieser Adresse.
