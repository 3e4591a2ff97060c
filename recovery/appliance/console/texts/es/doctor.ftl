## What `groundstate doctor` looks at
code-disk-health-what = Lo que los discos propios del appliance dicen de su salud (`groundstate doctor`).
code-disk-health-now = Instale smartmontools si falta. Sustituya un disco que falla mientras aún se lee: haga antes una copia.
code-link-what = Si cada interfaz de la configuración existe y tiene enlace, también las VLAN (`groundstate doctor`).
code-link-now = Conecte el cable, cree la VLAN como dice la ayuda o corrija el nombre en [[interfaces]].
code-depot-reach-what = Si el depósito se puede leer, y acepta y devuelve un objeto (`groundstate doctor`).
code-depot-reach-now = Mire el camino al depósito, su bucket y los derechos de la clave de acceso.
code-directory-what = Si el directorio del sitio (LDAP) responde con el certificado conocido (`groundstate doctor`).
code-directory-now = Mire el directorio, su certificado y [directory] de la configuración. Las personas registradas aquí entran mientras tanto.
code-provider-what = Si el proveedor OpenID del sitio se describe y tiene claves (`groundstate doctor`).
code-provider-now = Mire el proveedor y [provider] de la configuración. Las personas registradas aquí entran mientras tanto.
code-agent-fetch-what = Si el sistema de restauración con su agente, cargado como lo haría un equipo, es el que lista el kit (`groundstate doctor`).
code-agent-fetch-now = Reinicie el appliance para que sirva el kit actual; si sigue igual, otro responde en esta dirección.
