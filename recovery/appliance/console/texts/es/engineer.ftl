# Pages for those who run the site.

## Names of pages and roles
tab-home = Inicio
tab-approvals = Aprobaciones
tab-network = Red
tab-site = Planta
tab-more = Más

## What waits for somebody
home-title = Lo que espera a alguien
home-nothing = Nada espera a nadie.
home-states = Equipos por estado
home-all =
    { $count ->
        [one] { $count } equipo en total
       *[other] { $count } equipos en total
    }
home-running =
    { $count ->
        [one] { $count } trabajo en curso
       *[other] { $count } trabajos en curso
    }
home-until = hasta
home-for = espera desde hace
home-you-may = Usted puede hacerlo.
home-they-may = Puede hacerlo: { $roles }.
home-stands = vigente
home-stop =
    { $count ->
        [one] { $person } pulsó STOP; { $count } trabajo está retenido.
       *[other] { $person } pulsó STOP; { $count } trabajos están retenidos.
    }
home-stop-next = Averigüe la causa; después lo liberan dos personas, cada una con su nombre.
home-asks = pide aprobación
home-conflict-word = ¿quién es?
home-conflict = Otro se presentó con su dirección.
home-conflict-next = Ábralo y diga cuál es; hasta entonces no se recupera.
home-suspect-title =
    { $count ->
        [one] { $count } equipo
       *[other] { $count } equipos
    }
home-suspect = Su integridad está en duda.
home-suspect-next = Revise cada uno y recupérelo, o averigüe qué cambió.
home-network-word = red de arranque
home-foreign-title = Otro servidor: { $server }
home-foreign-next = Encuéntrelo y apáguelo, o manténgalo fuera de la red de arranque.
home-address-next = Encuentre { $by } y dele otra dirección.
home-refused-word = rechazado
home-refused =
    { $count ->
        [one] { $count } vez, la última de { $from }: { $why }
       *[other] { $count } veces, la última de { $from }: { $why }
    }
home-refused-next = Compruebe si pertenece a la red de arranque.
home-overdue = vencida
home-review-word = revisión pendiente
home-review = { $person } inició su recuperación sin aprobación: { $reason }
home-review-next = Otra persona dice si fue correcto.
home-plan =
    { $count ->
        [one] Un plan permanente de { $by } para { $count } equipo.
       *[other] Un plan permanente de { $by } para { $count } equipos.
    }
home-plan-next = Dos personas lo aprueban, o una lo retira.
home-drill-word = un simulacro pregunta
home-drill-next = Responda al paso.
home-due-word = pendiente
home-room-title = El disco está casi lleno
home-room = { $free } de { $total } están libres
home-room-next = Haga sitio: elimine imágenes que nadie necesita, o instale un disco mayor.
home-backup-title = Copia de seguridad
home-backup-old = La última copia del appliance tiene más de una semana.
home-backup-none = No consta ninguna copia del appliance.
home-backup-next = Guarde su estado en el appliance y conserve el archivo en otro lugar.
home-drill-schedule = Según su calendario hay que ensayar el runbook { $runbook }.
home-drill-schedule-next = Inícielo en la página de simulacros.
home-drill-due-title = Simulacro
home-drill-old = El último simulacro fue hace más de un trimestre.
home-drill-none = Aquí aún no se ha ensayado nada.
home-drill-due-next =
    { $count ->
        [one] Haga uno: { $count } equipo lo admite.
       *[other] Haga uno: { $count } equipos lo admiten.
    }
home-seen-title =
    { $count ->
        [one] { $count } equipo fue visto
       *[other] { $count } equipos fueron vistos
    }
home-seen = Están en la red y no constan; no reciben nada.
home-seen-next = Registre los que pertenecen aquí.

## Lists
list-words = Palabras
list-selector = Los que cumplen esto
list-sort = Orden
list-sort-need = quién necesita a alguien
list-sort-name = nombre
list-sort-seen = última señal de vida
list-sort-line = línea
list-show = Mostrar
list-found =
    { $count ->
        [one] { $count } encontrado
       *[other] { $count } encontrados
    }
list-pages = Páginas
list-first = Primera página
list-next = Página siguiente

## Approvals
approvals-none = Nada pide aprobación.
approvals-plans =
    { $count ->
        [one] { $count } plan permanente pide aprobación
       *[other] { $count } planes permanentes piden aprobación
    }
approvals-reviews =
    { $count ->
        [one] { $count } recuperación sin aprobación espera revisión
       *[other] { $count } recuperaciones sin aprobación esperan revisión
    }
approvals-asked-by = { $person } lo pidió el
approvals-until = Se abandona el
approvals-second = Debe aprobar otra persona.
approvals-job = El trabajo y sus evidencias
approvals-of = Qué
approvals-now = Ahora
approvals-then = Después
approvals-image = Imagen
approvals-never = nunca recuperado aquí
approvals-capture = leída al almacén como { $name }
approvals-same = (la misma)
approvals-disk = Disco
approvals-only-disk = su único disco
approvals-read-only = se lee, no se escribe
approvals-erased = Se borra antes ({ $how }).
approvals-all = Se sustituye todo, también lo que la imagen conserva.
approvals-but-preserved = Se sustituye todo salvo lo que la imagen conserva.
approvals-mode = Clase
approvals-drill = un simulacro
approvals-real = real
approvals-reason = Por qué (queda en evidencia; un rechazo lo exige)
approvals-approve = Aprobar
approvals-deny = Rechazar

## The boot network
network-interfaces = Interfaces
network-no-interface = No se atiende ninguna interfaz: añada una entrada [[interfaces]] a la configuración.
network-observe = escucha y no responde a nadie
network-proxy = el DHCP de la planta da las direcciones y el appliance los archivos de arranque
network-full = el appliance da direcciones y archivos de arranque
network-foreign = Otros servidores DHCP y de arranque
network-foreign-none = No se ha oído ninguno desde el inicio.
network-in-the-way = estorba
network-harmless = como debe ser
network-heard =
    { $count ->
        [one] Oído { $count } vez en { $interface },
       *[other] Oído { $count } veces en { $interface },
    }
network-remedy-both = Encuentre { $server }: busque su dirección Ethernet en el conmutador. Si es un router o portátil que sirve DHCP, desactívelo; si es intencionado, sáquelo de esta VLAN.
network-remedy-boots = El firmware conserva la primera oferta de arranque: quite las opciones 66 y 67 o el servicio de arranque de { $server }, o dé a los equipos una VLAN sin él.
network-remedy-gives = Dos servidores dan direcciones aquí: apague el DHCP de { $server }, o ponga esta interfaz en proxy.
network-probe = Preguntar quién más sirve arranques
network-probe-help = Se pregunta en cada interfaz; tarda unos segundos.
network-boots = Arranques
network-boots-none = Nadie ha pedido arrancar por la red desde el inicio.
network-who = Quién
network-reached = Llegó a
network-matter = Qué ocurre
network-last = Visto
network-more = y { $count } más
network-silent =
    { $count ->
        [one] { $count } equipo no se ha oído: mostrarlo
       *[other] { $count } equipos no se han oído: mostrarlos
    }
network-boot-of = Arranque por red de { $endpoint }
trace-title = Hasta dónde llegó
trace-missing = El paso que no llegó: { $hop }.
trace-gap = esto no llegó
trace-not-reached = no alcanzado
trace-table = Lo mismo en tabla
trace-hop = Paso
trace-at = Tras
trace-took = Duró
trace-what = Qué se vio
trace-picture = Un arranque de { $duration } que llegó a { $reached }; la tabla siguiente dice lo mismo.
code-discover-hop = búsqueda
code-offer-hop = oferta
code-file-hop = archivo
code-kernel-hop = núcleo
code-agent-hop = agente

## The appliance itself
site-appliance = Appliance
site-version = Versión
site-up = En marcha desde hace
site-certificates = Certificados
site-tls = El propio (TLS)
site-until = hasta
site-unreadable = ilegible
site-pin = Clave que fijan los equipos (SHA-256)
site-renewed = Se renueva solo 30 días antes de su fin; la clave permanece.
site-backup = Copia de seguridad
site-saved = Última copia el
site-backup-how = En el appliance, en marcha; el archivo se cifra con una frase de paso:
site-restore-how = Vuelve a una máquina vacía con
site-takeover = Quién escribe
site-nobody-writes = No se ha nombrado ningún appliance; escribe este.
site-we-write = Este appliance escribe (mandato { $term }).
site-other-writes = Otro appliance, { $holder }, escribe (mandato { $term }); este está apartado.
site-since = Desde
site-takeover-how = Un segundo appliance en esta base toma el relevo con una orden:
site-storage = Almacenamiento
site-data-dir = Directorio de datos
site-free = Espacio
site-database = Base de datos
site-images = Almacén de imágenes
site-depot = Almacén de objetos
site-trouble = problema
site-sinks = Quién recibe las evidencias
site-delivers = entrega
site-behind =
    { $count ->
        [one] { $count } entrada de retraso
       *[other] { $count } entradas de retraso
    }
site-delivered = última el
site-dead =
    { $count ->
        [one] { $count } rechazada para siempre:
       *[other] { $count } rechazadas para siempre:
    }
site-ports = Puertos abiertos
site-port = Puerto
site-purpose = Para
site-at = En
site-more = Más de esta planta
site-policy = Probar otra política
site-reviews = Recuperaciones sin aprobación
site-metrics = Métricas para un sistema de supervisión
code-people-port = consola y REST
code-endpoints-port = agentes y registro
code-dhcp-port = DHCP
code-boot-server-port = servidor de arranque (PXE)
code-tftp-port = TFTP
code-http-boot-port = arranque HTTP e imágenes
code-https-boot-port = arranque HTTPS
code-syslog-port = mensajes de los cargadores
