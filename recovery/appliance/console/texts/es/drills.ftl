drills-calendar = Calendario de simulacros
drills-calendar-empty = No hay ninguna programación registrada, así que nunca vence nada. Añada una:
drills-due-on = vence el { $day }
drills-last-by = último: { $by }, el { $day }
drills-no-window = solo empieza si alguien lo inicia
drills-windows = puede empezar solo: { $windows }
drills-readiness = Preparación
drills-proven-of = { $proven } de { $all } equipos físicos se recuperaron con prueba en los últimos seis meses.
drills-never =
    { $count ->
        [one] Nunca probado: un equipo
       *[other] Nunca probados: { $count } equipos
    }
drills-overdue = Prueba demasiado antigua
drills-virtual-proves-nothing = Un equipo virtual prueba el procedimiento, no el hardware; no se cuenta.
drills-actions =
    { $count ->
        [one] Por corregir: un punto
       *[other] Por corregir: { $count } puntos
    }
drills-actions-close = Un punto se cierra cuando el mismo runbook se supera en la misma clase, y de ningún otro modo.
drills-stands-never = Nunca probado
drills-stands-overdue = Vencido
drills-stands-soon = Vence pronto
drills-stands-fine = Probado
drill-code-title = { $endpoint } muestra un código
drill-code-why = Póngase delante y lea las cuatro cifras de su pantalla. No se escribe nada en él hasta que coincidan; tras tres códigos erróneos, el simulacro sigue sin él.
drill-code-field = El código de su pantalla
drill-code-send = Es este
report-title = Informe
report-languages = Los informes están en inglés y alemán. Lo que escribieron el registro y las personas queda como se escribió.
report-page = Página
zones-title = Zonas
zones-lead = Lo que las evidencias y las declaraciones muestran de cada zona. Apoya una evaluación y no es ninguna; el primer nivel está mostrado, el segundo es posible.
zones-none = El appliance no conoce ninguna zona. Escriba un archivo de zonas y nómbrelo como { $key } en la configuración:
zones-aim = Objetivo
zones-shown = Mostrado – posible
zones-way = Lo impide
zones-met = Alcanzado
zones-unproven = Sin probar
zones-gap = Brecha
zones-drill = Planear un simulacro
zones-to-do = Qué hay que hacer, y de quién es deber
zones-months = Meses del programa de seguridad
zones-pack = Un mes con sus evidencias y pruebas en un solo archivo firmado:
zones-components = El appliance como componente
zones-link = Zonas, meses y sus informes
