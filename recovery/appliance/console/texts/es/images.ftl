# Golden images and their channels.
tab-images = Imágenes
images-none = No hay ninguna imagen de referencia en el almacén. Importe una en el appliance:
image-title = Imagen { $name } { $version }
image-unreadable = Un manifiesto ilegible
image-trusted = de confianza
image-not-trusted = no de confianza
stage-of-candidate = candidata
stage-of-approved = aprobada
stage-of-retired = retirada
image-version = Versión
image-epoch = Época
image-state = Estado
image-used = Dónde se usa
image-unused = por ninguna plantilla ahora
image-follow =
    { $n ->
        [one] { $n } equipo
       *[other] { $n } equipos
    }
image-runs =
    { $n ->
        [one] { $n } equipo se recuperó a ella por última vez.
       *[other] { $n } equipos se recuperaron a ella por última vez.
    }
image-jobs = Trabajos de esta imagen
image-digest = Hash del manifiesto
image-data = Datos en ella
image-made = Hecha el
image-hardware = Para el hardware
image-note = Nota de quien la hizo
image-signatures =
    { $n ->
        [one] Quién la firmó ({ $n } firma)
       *[other] Quién la firmó ({ $n } firmas)
    }
image-unsigned = Nadie la ha firmado. Sus firmantes lo hacen con
signature-counts = cuenta
signature-not = no cuenta
channel-title = Qué se dijo de las imágenes de este nombre
channel-not-used = Ninguna clave de la raíz de confianza promueve imágenes: de las de confianza se usa la de época más alta.
channel-nothing-said = Nadie ha promovido una imagen de este nombre.
channel-last = Última palabra: { $stage }, época { $epoch }, por { $author },
promote-title = Promover
promote-how = En el appliance no hay ninguna clave que promueva imágenes. Quien tenga una firma con { $command } y pega aquí el archivo.
promote-statement = La promoción firmada
promote-button = Entregarla
promote-refused = Se rechazan: una más antigua que la última de aquí, una de una clave que la raíz de confianza no lista, y la aprobación de una imagen no de confianza.
code-permission-images-words = promover una imagen

## Refusals
code-bad-image-what = Esto no es el identificador de una imagen.
code-bad-image-now = Abra la imagen desde la lista.
code-unknown-image-what = Esa imagen no está en el almacén.
code-unknown-image-now = Búsquela en la lista de imágenes.
code-bad-statement-what = Esto no es una promoción firmada de ese nombre.
code-bad-statement-now = Pegue lo que se firmó, entero y tal como estaba.
code-channel-moved-what = Llegó otra promoción desde que usted miró.
code-channel-moved-now = Mire otra vez la imagen y decida de nuevo.
code-channel-rolled-back-what = La promoción es más antigua que la última de aquí.
code-channel-rolled-back-now = Una orden anterior no vuelve: haga que la firmen de nuevo.
code-statement-refused-what = Ninguna clave que promueva imágenes aquí la ha firmado.
code-statement-refused-now = Haga que la firme una clave que la raíz de confianza liste para ello.
