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
