decimal-sign = ,
duration-seconds = { $s } s
duration-minutes = { $m } min { $s } s
duration-hours = { $h } h { $m } min
byte-unit = B
rate-per-second = { $bytes }/s
bytes-of = { $done } de { $total }
never = nunca
go-back = Volver
no-back = No, volver
why-field = ¿Por qué? (queda en las evidencias, puede quedar vacío)
state-discovered = Detectado
state-known = Conocido
state-trusted = De confianza
state-suspect = Sospechoso
state-recovering = En recuperación
state-held = Le necesita
job-working = En curso
job-held = Detenido
job-recovered = Recuperado
job-captured = Capturado
job-cancelled = Cancelado
job-failed = Fallido
stretch-approve = Aprobación
stretch-network = Arranque desde la red
stretch-prove = Prueba del hardware
stretch-write = Escritura de la imagen de referencia
stretch-start = Arranque del sistema restaurado
stretch-enrol = Registro
stretch-read = Lectura del disco
stretch-own = Arranque de su propio sistema
stretch-ahead = pendiente
stretch-now = ahora
stretch-stopped = detenido aquí
stretch-done = hecho
stage-proposed = solicitada
stage-admitted = comprobada con las reglas de protección
stage-approved = aprobada
stage-fenced = identidad anterior revocada
stage-ticketed = permiso de arranque emitido
stage-powering = encendido para arrancar desde la red
stage-agent-wait = a la espera del sistema de recuperación
stage-proving = comprobación del hardware
stage-capturing = lectura del disco
stage-imaging = escritura de la imagen de referencia
stage-read-back = relectura
stage-disarming = permiso anulado, reinicio
stage-os-wait = a la espera del sistema restaurado
stage-verifying = verificación del sistema restaurado
stage-enrolling = registro
stage-registering = registro en el plano de control
stage-releasing = levantamiento de la cuarentena
activity-scanning = Lectura del disco
activity-writing = Escritura
activity-reading-back = Relectura
activity-erasing = Borrado del disco
activity-keeping = Guardando lo que puede mostrar la causa
role-technician = técnico
role-engineer = ingeniero
role-approver = aprobador
role-auditor = auditor
role-admin = administrador
role-automation = automatización
or-word = o
why-not-role = Aquí usted es { $role } y no puede { $what }: pregunte a alguien con la función { $who }.
why-not-nothing = No hay nada detrás de este botón.
drill-word = SIMULACRO
drill-not-real = Ensayo: no se toca nada de producción.
stop-banner = STOP está activo.
stop-banner-more = No empieza ninguna recuperación; lo que escribía se detiene con su próximo informe.
stop-banner-link = Quién, por qué y cómo levantarlo
stop-one-more = { $by } lo levantó. Otra persona debe hacerlo antes de { $moment }.
stop-title = STOP para toda la planta
stop-what = Toda recuperación que aún pudiera conmutar o escribir se detiene, y no empieza ninguna, hasta que dos personas lo hayan levantado.
stop-disks = Un equipo con el disco a medio escribir no arranca hasta que se reanude su trabajo. Si el disco está intacto, arranca como antes.
stop-stands = STOP está activo
stop-pressed = { $by } lo pulsó a las { $moment }, hace { $time }.
stop-no-reason = No se dio ninguna razón.
stop-held =
    { $n ->
        [one] { $n } trabajo quedó detenido.
       *[other] { $n } trabajos quedaron detenidos.
    } Al levantarlo se reanudan uno por uno.
stop-goes-on = Esto continúa de todos modos:
stop-now-second = { $by } lo levantó: { $reason } Otra persona también debe hacerlo, antes de { $moment }.
stop-now-first = Averigüe la causa. Después lo levantan dos personas, cada una con su nombre.
stop-found = Qué se encontró y por qué puede continuar
stop-release = Levantar STOP
stop-again = STOP otra vez
stop-again-what = Si se pulsa otra vez, un levantamiento ya dado queda anulado.
stop-own-release = Otra persona también debe levantarlo: el primer levantamiento es suyo.
glass-banner = Se rompió el cristal.
glass-banner-late = Se rompió el cristal y nadie lo revisó a tiempo.
glass-count =
    { $n ->
        [one] { $n } recuperación siguió sin aprobación.
       *[other] { $n } recuperaciones siguieron sin aprobación.
    }
glass-link = Quién, por qué y qué dice otra persona
glass-nobody = No hay nadie para aprobar
glass-what = La recuperación puede empezar sin la segunda persona. Es una alarma, queda a su nombre y otra persona la revisa en 24 horas. Las reglas de protección, STOP y el permiso de la máquina siguen vigentes.
glass-happened = Qué ocurrió
glass-break = Romper el cristal
glass-mark = { $by } la dejó seguir sin la aprobación que requiere.
glass-review = Revisar
glass-title = Cristal roto
glass-none = Nada espera revisión.
glass-began = { $by } inició su recuperación sin aprobación a las { $moment }:
glass-overdue = Vencido desde { $moment }.
glass-due = A revisar antes de { $moment }.
glass-job = El trabajo y sus evidencias
glass-own = Otra persona debe revisarlo: este cristal lo rompió usted.
glass-found = Qué encontró
glass-right = Fue correcto
glass-wrong = No lo fue
plans-title = Planes permanentes
plans-what = Un plan es una aprobación que dos personas dan de antemano: una recuperación que la esperaría de noche empieza sola. Vale para los equipos y la imagen que nombra, tal como eran; si algo cambia, queda anulado.
plans-none = No hay ninguno. Se crea en la línea de comandos:
plans-try = Probar otra configuración con lo informado antes
plan-proposed = por aprobar
plan-standing = vigente
plan-over = terminado
plan-any-time = en cualquier momento
plan-whom = Para quién
plan-endpoints =
    { $n ->
        [one] { $n } equipo
       *[other] { $n } equipos
    }: { $names }
fig-image = Imagen
plan-begun-by = Iniciado por
plan-trigger = un fallo de integridad confirmado por { $triggers }
col-when = Cuándo
plan-day = En 24 horas
plan-of = { $n } de { $most }
plan-made-by = Creado por
by-at = { $by } a las { $moment }
plan-approved-by = Aprobado por
nobody-yet = nadie todavía
plan-ends = Termina
plan-own = Otra persona debe aprobarlo: usted lo creó o ya lo aprobó.
plan-withdraw = Retirar
policy-title = Probar una política
policy-what = Qué habría hecho otra configuración con lo informado antes. Nada se aplica.
policy-config = Configuración, como en el archivo del appliance
policy-days = Días hacia atrás
policy-try = Probar
policy-begun = { $n } habrían empezado solas
policy-reports =
    { $n ->
        [one] Informes en { $n } día
       *[other] Informes en { $n } días
    }
policy-begin = Habrían empezado solas
policy-ask = Habrían preguntado a una persona
policy-quarantine = Equipos que ya no son de confianza
policy-join = Unidos a una recuperación abierta
policy-nothing = Nada
policy-region = Qué se habría hecho
col-endpoint = Equipo
col-source = Fuente
col-would = Efecto
col-because = Porque
policy-because = Nada, porque
policy-left-out =
    { $n ->
        [one] { $n } informe más antiguo quedó fuera.
       *[other] { $n } informes más antiguos quedaron fuera.
    }
policy-not-replayed = No reproducido
drills-none = Ninguno desde que arrancó el appliance.
drill-passed = { $n } de { $all } pasos superados
drill-start-title = Iniciar un simulacro
drill-none-safe = Ningún equipo admite simulacros. Registre un equipo de banco, con disco de repuesto o virtual como apto para simulacros:
drill-runbook = Procedimiento
drill-really = Un simulacro solo escribe en equipos que lo admiten. En ellos escribe de verdad.
drill-start = Iniciar el simulacro
drill-recoveries = Recuperaciones de este simulacro
drill-who = Quién lo hizo, si no fue usted
drill-note = Nota (va al informe, puede quedar vacía)
yes-word = Sí
no-word = No
drill-running = En curso
drill-waiting = Espera a una persona
drill-succeeded = Superado
drill-partly = Superado en parte
drill-failed = Fallido
drill-stopped = Detenido
step-passed = superado
step-failed = fallido
step-running = en curso
step-waiting = espera a una persona
step-ahead = pendiente
step-skipped = omitido
boot-title = Su arranque desde la red
boot-chain = cadena { $chain }
boot-offered = ofrecido { $offer }
boot-began = empezó { $moment }
col-after = Tras
col-step = Paso
col-outcome = Resultado
col-what = Qué
boot-before = Antes, { $moment }:
boot-foreign = Otro servidor en la red de arranque
boot-on = { $server } en { $interface }:
last-heard = Última señal { $moment }
boot-twice = Una dirección está en uso dos veces, o puede estarlo
boot-used-by = { $address } la usa { $mac } sin concesión:
