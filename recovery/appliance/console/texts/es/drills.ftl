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
