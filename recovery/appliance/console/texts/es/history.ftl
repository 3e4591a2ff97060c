# What happened: jobs and the evidence log.

## Who and what did something
actor-token = la clave propia de la planta
actor-source = la fuente { $source }
actor-agent = el sistema de recuperación
actor-appliance = el appliance
trigger-person = una persona
trigger-attestation = una atestación
trigger-source = la fuente { $source }
trigger-drill = un simulacro

## Jobs
tab-jobs = Trabajos
jobs-none = Ningún trabajo es así.
jobs-open = Abierto
jobs-any = Todos
jobs-state = Estado
jobs-states = Trabajos por estado
jobs-endpoint = Equipo
jobs-trigger = Solicitado por
jobs-sort-newest = primero los más nuevos
jobs-sort-oldest = primero los más antiguos
jobs-sort-longest = primero los más largos
jobs-capture = captura
button-retry = Intentar de nuevo

## What happened in a job
steps-title =
    { $n ->
        [one] Qué ocurrió ({ $n } paso)
       *[other] Qué ocurrió ({ $n } pasos)
    }
steps-when = Cuándo
steps-what = Qué
steps-took = Tras
steps-who = Quién
steps-entry = Entrada
steps-help = «Tras» dice cuánto duró el estado anterior; la entrada es la del registro de evidencias que lo dice.
code-tick-event = se acabó su tiempo
code-restarted-event = el appliance arrancó de nuevo
code-admission-event = respondieron las reglas de seguridad
code-done-event = terminó la acción del appliance
code-agent-hello-event = el sistema de recuperación se presentó
code-pairing-shown-event = muestra un código de vinculación
code-hardware-proven-event = su hardware está probado
code-order-asked-event = el sistema de recuperación pidió su orden
code-reported-event = el sistema de recuperación informó
code-captured-event = el disco está en el almacén
code-golden-hello-event = el sistema recuperado se presentó
code-golden-proven-event = el sistema recuperado está probado
code-certified-event = se emitió un certificado
code-enrolment-later-event = quien emite certificados dice: más tarde
code-enrolled-event = tiene su certificado
code-refused-event = se rechazó
code-differs-event = otro TPM o firmware que el registrado
code-approve-event = una persona lo aprobó
code-resume-event = una persona lo dejó continuar
code-site-stop-event = se pulsó STOP
code-break-glass-event = una persona lo dejó continuar sin aprobación
code-cancel-event = una persona lo detuvo

## The evidence log
tab-evidence = Evidencias
evidence-what =
    { $n ->
        [one] El registro tiene { $n } entrada; nadie puede cambiarla o quitarla sin que se note.
       *[other] El registro tiene { $n } entradas; nadie puede cambiar o quitar una sin que se note.
    }
evidence-none = Ninguna entrada es así.
evidence-looked = Se buscó hasta la entrada { $entry }; la página siguiente continúa desde ahí.
evidence-kind = Tipo
evidence-by = Por (persona)
evidence-from = Desde (UTC)
evidence-to = Hasta (UTC)
evidence-job = Trabajo
evidence-hash = Hash (hoja del árbol del registro)
evidence-proof = Prueba de que está en el registro
evidence-text = La entrada como archivo
evidence-entry = Entrada { $entry }
verify-title = El registro de evidencias, comprobado
verify-button = Comprobar
verify-good = tal como se escribió
verify-bad = no como se escribió
verify-all = { $entries } entradas están como se escribieron, y { $checkpoints } puntos de control firmados concuerdan.
verify-held = Anclas comparadas: { $n }.
verify-first = La primera entrada mala es { $entry }.
verify-now = Conserve la base de datos como está, tome una exportación y la copia más reciente, y compárelas; lo que sigue no está probado.
verify-took = Tardó { $took }.
verify-elsewhere = Quien pudo cambiar el registro quizá cambió el appliance: desde otro ordenador compruébelo con

## Refusals
code-bad-state-what = Ningún trabajo está nunca en ese estado.
code-bad-state-now = Elija un estado de la lista.
code-bad-time-what = La hora no se entiende.
code-bad-time-now = Escríbala como 2026-11-30 o 2026-11-30T13:05, en UTC.
code-nothing-to-retry-what = El trabajo terminó bien: no hay nada que repetir.
code-nothing-to-retry-now = Pida una nueva recuperación si la quiere.
code-retry-elsewhere-what = Una captura o un simulacro se inicia de nuevo donde empezó.
code-retry-elsewhere-now = Pida de nuevo la captura o inicie otra vez el runbook.
