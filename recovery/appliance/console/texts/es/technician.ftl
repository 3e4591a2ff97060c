hold-seconds = Mantener { $s } s
hold-started = Iniciado
hold-to-recover = Mantener para recuperar
hold-help = Mantenga 3 segundos. Al soltar se cancela.
endpoint-refused = Fue rechazado
endpoint-refused-stands = Esto queda aquí hasta que se pruebe. Cada rechazo consta con su hora en las evidencias.
conflict-title = ¿Quién es este?
conflict-came = Llegó otro con una dirección de { $endpoint }:
conflict-times =
    { $n ->
        [one] { $n } vez
       *[other] { $n } veces
    } desde { $moment }
conflict-say = No se recupera hasta que diga cuál es. Si no movió ni cambió nada, aísle el otro.
conflict-keep = Se queda el registrado; rechazar el otro
conflict-replace = Su hardware fue reemplazado por este
pair-title = ¿Está este código en su pantalla?
pair-why = El equipo no tiene TPM para probarse. Compare el código con la pantalla de { $endpoint }.
pair-yes = Sí, los códigos son iguales
pair-differ = Si difieren: aísle el equipo. Puede que otro responda en su nombre.
last-recovery = Última recuperación
took = tardó { $time }
open-job = Abrir el trabajo
unknown-why = Se ha visto y no está registrado: arranca de su disco y no recibe nada. Regístrelo; entonces podrá recuperarse.
unknown-forget = U olvidarlo:
recover-title = Recuperar { $endpoint }
recover-lost = Todo lo que hay en su disco se reemplaza por la imagen de referencia de { $blueprint }. No se conserva nada.
recover-would-wait = Esperaría:
last-time = La última vez tardó { $time }.
recover-sure = ¿Recuperar { $endpoint }?
yes-recover = Sí, recuperar { $endpoint }
all-of-job = Todo este trabajo, con sus evidencias
tpm-weaker = El TPM se acepta desde su primera recuperación aprobada: una prueba más débil que la del fabricante.
facts-title = Qué es
fact-kind = Tipo
fact-safety = Clase de seguridad
fact-redundancy = Grupo de redundancia
fact-ethernet = Ethernet
fact-docked = (base o adaptador USB: no identifica a nadie)
none-on-record = ninguno registrado
fact-maker = Fabricante del TPM
fact-chain = Cadena de arranque
fact-certificate = Certificado
not-enrolled = no registrado
fact-seen = Visto por última vez
fact-proof = Última prueba
may-be-drilled = admite simulacros
never-drilled = nunca en simulacros
fact-serial = Número de serie
fact-firmware = Firmware
fact-memory = Memoria
fact-disk = Disco
disk-serial = serie { $serial }
disk-path = en { $path }
disk-removable = (extraíble: nunca se escribe)
disk-health = estado: { $health }
disk-erase = puede borrarse mediante: { $by }
hardware-title = De qué está hecho, quién lo dijo y cuándo
hardware-region = Datos de hardware
col-has = Tiene
col-as = Como
col-since = Desde
col-told = Dicho por
col-last = Último
hardware-unknown = Lo que nadie dijo no se muestra: desconocido no es cero.
told-recovery = el sistema de recuperación
told-restored = el sistema de su disco
fw-bios = BIOS
fw-uefi = UEFI, Secure Boot desactivado
fw-uefi-secure = UEFI, Secure Boot activado
none-meant = Ninguno coincide.
show-all = Mostrar todos
glass-mark-short = CRISTAL ROTO
row-conflict = Llegó otro con su dirección. Ábralo y diga cuál es.
row-since = Solicitada hace { $time }.
row-suspect = Su integridad está en duda. Ábralo y decida.
row-discovered = Visto en la red, sin registrar. No recibe nada.
row-proved = Se probó por última vez a las { $moment }.
row-enrolled = Registrado.
row-known = Dado de alta, sin registrar.
net-refused = Rechazado en la red de arranque
net-refused-times =
    { $n ->
        [one] { $n } vez
       *[other] { $n } veces
    }, la última a las { $moment } desde { $from }.
none-yet = Aún no hay equipos
none-yet-put = Registre uno en el appliance:
none-yet-boot = O haga arrancar uno desde la red: aparece aquí como detectado.
capture-of = Captura de { $endpoint }
recovery-of = Recuperación de { $endpoint }
asked-by = solicitada por { $trigger }
job-id = Trabajo { $job }
image-id = imagen { $image }
limit-says = Si nada avanza, se detiene a las { $moment } y dice por qué.
preserved-given-up = Se renuncia a las particiones preservadas.
preserved-given-up-more = Lo que el equipo tiene en ellas se sobrescribe con lo que tiene la imagen.
button-approve = Aprobar
button-go-on = Continuar
button-give-up = Abandonar
button-stop = Detener
button-cancel = Cancelar
stop-sure = ¿Detener la recuperación de { $endpoint }?
stop-late = Se está escribiendo su disco: { $endpoint } no arranca hasta que termine la recuperación.
stop-early = Su disco sigue intacto.
yes-stop = Sí, detenerla
plan-result = Plan y resultado
fig-keep = Ya correcto
fig-preserved = Preservado, con hash antes y después
fig-move = En otra parte del disco
fig-fetch = Por traer
in-chunks =
    { $n ->
        [one] { $bytes } en { $n } bloque
       *[other] { $bytes } en { $n } bloques
    }
fig-zero = Por poner a cero
fig-health = Estado del disco
fig-erased = Disco borrado
fig-wire = Por la red
fig-written = Escrito
fig-read-back = Releído, igual
fig-boot-entry = Entrada de arranque del firmware
entry-kept = era correcta
entry-set = definida
entry-refused = el firmware la rechazó: compruebe que arranque solo de este disco
exhibit-choice = Guardar antes lo que puede mostrar la causa; un minuto como máximo
exhibit-title = Guardado del sistema anterior
exhibit-will = Lo que puede mostrar la causa se guarda antes de escribir nada.
exhibit-ordered = El equipo debe guardarlo, en { $seconds } s como máximo; aún no ha dicho qué resultó.
exhibit-kept = Está en el appliance, aparte de las imágenes, y nunca se restaura.
exhibit-nothing = No se guardó nada; la recuperación siguió.
exhibit-deleted = Lo borró { $by }; su registro queda.
exhibit-bytes = Tamaño
exhibit-files = Archivos
exhibit-took = Duración
exhibit-until = Se borra por sí solo
exhibit-cut =
    { $n ->
        [one] { $n } cosa quedó fuera
       *[other] { $n } cosas quedaron fuera
    }
captured-title = Qué se capturó
fig-kept = Conservado
fig-free = Libre, omitido
captured-look = Mire esto antes de firmarla
phases-title = Fases
col-phase = Fase
col-time = Tiempo
in-all = En total
evidence-title =
    { $n ->
        [one] Evidencias ({ $n } entrada)
       *[other] Evidencias ({ $n } entradas)
    }
evidence-check = Compruebe todo el registro con { $command }.
said-recovered = { $endpoint } vuelve a ejecutar { $image } y lo ha probado.
said-recovered-plane = El disco de { $endpoint } es de nuevo { $image }, releído. Que funciona es la palabra de un plano de control, y no una prueba.
said-recovered-person = El disco de { $endpoint } es de nuevo { $image }, releído. Que funciona es la palabra de una persona, y no una prueba.
said-captured = El disco de { $endpoint } está en el almacén como { $image }.
now-sign = Haga que la firmen sus firmantes.
said-given-up = Abandonada en la etapa «{ $stage }».
said-untouched = Detenida en la etapa «{ $stage }»; el disco no se tocó.
now-order-new = El equipo no arranca ahora; ordene una nueva recuperación.
now-failed = El trabajo se abandonó; ordene una nueva recuperación cuando se corrija la causa.
now-by-hand = Apague y encienda el equipo y elija el arranque desde la red en su firmware.
record-says = El registro dice:
scan-title = ¿Qué máquina?
scan-how = Escanee el código de la máquina o tóquela en la lista.
scan-field = Código de la máquina
scan-open = Abrir
scan-camera = Escanear con la cámara
scan-camera-stop = Detener la cámara
scan-no-camera = Este navegador no lee códigos. El lector y la lista funcionan.
scan-camera-refused = La cámara no se puede usar. El lector y la lista funcionan.
scan-unreadable = No es un código de máquina. Escanee otra vez o tóquela en la lista.
scan-tab = Escanear
scan-list = Máquinas
line-named = Línea { $line }
photo-of = Foto de { $endpoint }
photo-none = Aún sin foto
photo-title = Foto de la máquina
photo-what = Un técnico la compara con lo que tiene delante. JPEG, PNG o WebP, 512 KiB como máximo.
photo-file = Archivo de foto
photo-send = Usar esta foto
photo-remove = Quitar la foto
machine-this = ¿Es esta máquina?
machine-compare = Compare la foto y el nombre con la máquina que tiene delante.
machine-yes = Sí, esta máquina
machine-no = No, es otra
saved-state = Estado guardado: { $image }
saved-age =
    { $n ->
        [one] guardado hace { $n } día
       *[other] guardado hace { $n } días
    }
saved-today = guardado hoy
saved-none = No hay ningún estado guardado al que volver.
usual-time = Normalmente { $from }, nueve de cada diez en { $to } ({ $n } recuperaciones)
usual-unknown =
    { $n ->
        [one] Aún no se sabe cuánto tarda: { $n } recuperación hasta ahora
       *[other] Aún no se sabe cuánto tarda: { $n } recuperaciones hasta ahora
    }
safety-title = Antes de empezar
safety-0 = Ninguna producción depende de esta máquina.
safety-1 = La línea nota su ausencia. Avise primero al turno.
safety-2 = Otros dependen de ella. Otra persona debe aprobar antes de escribir nada.
safety-3 = Es relevante para la seguridad. Hace falta una segunda persona; ninguna urgencia lo evita.
safety-kind-panel = Su pantalla se apaga mientras tanto. Vigile el proceso en otro panel.
safety-kind-server = Lo que presta a otros falta mientras tanto.
safety-kind-computer = Quien trabaje en ella debe guardar y dejarla ahora.
safety-lost = Se pierde: todo lo que hay en su disco desde el estado guardado.
safety-kept = Se conserva: { $parts }
safety-nothing-kept = Se conserva: nada.
safety-tick = La máquina está parada o segura sin ella
safety-missing = Marque primero la casilla: la máquina debe estar parada o segura.
walk-away = Puede alejarse hasta las { $moment }
walk-late = Tarda más de lo normal. Mire su pantalla.
walk-unknown = Quédese cerca: aún no se sabe cuánto tarda
walk-stay = Quédese aquí: le necesita
heard-ago = Última señal hace { $time }
heard-never = Sin señal todavía
live-title = ¿Muestra la pantalla valores en vivo?
live-what = Mire la máquina. Su respuesta queda en las evidencias.
live-yes = Sí, valores en vivo
live-no = No
done-title = Hecho
done-what = { $endpoint } vuelve a funcionar. Puede irse.
next-machine = Siguiente máquina
recover-again = Recuperarla otra vez
not-live-title = Ejecuta el estado guardado y no muestra valores en vivo
not-live-dark = Pantalla apagada: compruebe la alimentación y el cable de la pantalla.
not-live-stale = Imagen sin valores: compruebe el cable de red y si el controlador funciona. Espere dos minutos.
not-live-call = Sigue sin valores: llame a un ingeniero y dígale el código.
not-live-now = Ahora muestra valores en vivo
phone-opens-it = Escanéelo con un teléfono: abre la misma página.
engineers-page = Todo sobre esta máquina
card-print = Tarjeta para imprimir
card-title = Tarjeta de { $endpoint }
card-scan = Escanear para recuperar
card-step-1 = Asegure la máquina
card-step-2 = Escanee este código
card-step-3 = Compare foto y nombre
card-step-4 = Marque y mantenga 3 segundos
card-step-5 = Si se pide: apague y encienda
card-step-6 = Compruebe los valores en vivo
card-black = Pantalla negra: mantenga el botón de encendido 10 segundos.
card-phone = Llamar
card-unreachable = Si la página no se abre
card-unreachable-1 = Use la tableta de la línea u otro teléfono.
card-unreachable-2 = Compruebe que el appliance tenga corriente y su luz de red encendida.
card-unreachable-3 = Deje la máquina como está y llame. Anótelo abajo.
card-log-when = Cuándo
card-log-who = Quién
card-log-what = Qué
card-printed = Impresa el { $date }, tarjeta { $version }
