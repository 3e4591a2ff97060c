## What `groundstate doctor` looks at
code-disk-health-what = Ce que les disques de l’appliance disent de leur santé (`groundstate doctor`).
code-disk-health-now = Installez smartmontools s’il manque. Remplacez un disque qui faiblit tant qu’il se lit encore : sauvegardez d’abord.
code-link-what = Si chaque interface de la configuration existe et a un lien, VLAN compris (`groundstate doctor`).
code-link-now = Branchez le câble, créez le VLAN comme l’indique l’aide, ou corrigez le nom sous [[interfaces]].
code-depot-reach-what = Si le dépôt se lit, et accepte et rend un objet (`groundstate doctor`).
code-depot-reach-now = Vérifiez le chemin vers le dépôt, son bucket et les droits de la clé d’accès.
code-directory-what = Si l’annuaire du site (LDAP) répond avec le certificat connu (`groundstate doctor`).
code-directory-now = Vérifiez l’annuaire, son certificat et [directory] de la configuration. Les personnes enregistrées ici se connectent entre-temps.
code-provider-what = Si le fournisseur OpenID du site se décrit et a des clés (`groundstate doctor`).
code-provider-now = Vérifiez le fournisseur et [provider] de la configuration. Les personnes enregistrées ici se connectent entre-temps.
code-agent-fetch-what = Si le système de restauration avec son agent, chargé comme le ferait un poste, est bien celui que liste le kit (`groundstate doctor`).
code-agent-fetch-now = Redémarrez l’appliance pour qu’elle serve le kit actuel ; si cela reste, quelqu’un d’autre répond à cette adresse.
