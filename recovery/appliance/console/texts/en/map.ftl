# The plant as a picture.
tab-map = Map
map-picture =
    { $endpoints ->
        [one] A map of { $endpoints } endpoint in { $places } places; the table below says the same.
       *[other] A map of { $endpoints } endpoints in { $places } places; the table below says the same.
    }
map-place = Line / cell
map-elsewhere = no line
map-times = How long recoveries took
map-times-none = No recovery has ended well yet.
map-count =
    { $n ->
        [one] { $n } recovery, { $drills } of them drills.
       *[other] { $n } recoveries, { $drills } of them drills.
    }
map-usual = Half of the real ones took no longer than { $p50 }, nine of ten no longer than { $p90 }.
map-too-few = Too few for a usual duration.
map-chart =
    { $n ->
        [one] { $n } recovery over time; the longest took { $longest }.
       *[other] { $n } recoveries over time; the longest took { $longest }.
    }
