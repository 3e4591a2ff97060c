# The plant as a picture.
tab-map = 分布图
map-picture = { $endpoints } 台终端、{ $places } 处的分布图；下表内容相同。
map-place = 产线 / 单元
map-elsewhere = 无产线
map-times = 恢复用时
map-times-none = 尚无成功的恢复。
map-count = { $n } 次恢复，其中演练 { $drills } 次。
map-usual = 真实恢复中半数不超过 { $p50 }，九成不超过 { $p90 }。
map-too-few = 次数太少，无法给出通常用时。
map-chart = { $n } 次恢复随时间的变化；最长 { $longest }。
