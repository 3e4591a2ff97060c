# What happened: jobs and the evidence log.

## Who and what did something
actor-token = 站点自有密钥
actor-source = 来源 { $source }
actor-agent = 恢复系统
actor-appliance = 恢复设备
trigger-person = 人员
trigger-attestation = 证明检查
trigger-source = 来源 { $source }
trigger-drill = 演练

## Jobs
tab-jobs = 任务
jobs-none = 没有符合的任务。
jobs-open = 未结束
jobs-any = 全部
jobs-state = 状态
jobs-states = 按状态统计的任务
jobs-endpoint = 终端
jobs-trigger = 请求者
jobs-sort-newest = 最新优先
jobs-sort-oldest = 最早优先
jobs-sort-longest = 耗时最长优先
jobs-capture = 采集
button-retry = 重试

## What happened in a job
steps-title = 经过（{ $n } 步）
steps-when = 时间
steps-what = 事件
steps-took = 历时
steps-who = 执行者
steps-entry = 条目
steps-help = “历时”为前一状态的持续时间；“条目”为证据日志中的对应条目。
code-tick-event = 超时
code-restarted-event = 恢复设备重新启动
code-admission-event = 防护规则已答复
code-done-event = 恢复设备的操作已结束
code-agent-hello-event = 恢复系统已报到
code-pairing-shown-event = 显示了配对码
code-hardware-proven-event = 硬件已验证
code-order-asked-event = 恢复系统请求指令
code-reported-event = 恢复系统已报告
code-captured-event = 磁盘已入库
code-golden-hello-event = 恢复后的系统已报到
code-golden-proven-event = 恢复后的系统已自证
code-certified-event = 证书已签发
code-enrolment-later-event = 证书颁发方要求稍后
code-enrolled-event = 已持有证书
code-refused-event = 被拒绝
code-differs-event = TPM 或固件与登记不符
code-approve-event = 有人批准
code-resume-event = 有人让其继续
code-site-stop-event = 急停被按下
code-break-glass-event = 有人在未经批准下让其继续
code-cancel-event = 有人停止了它

## The evidence log
tab-evidence = 证据
evidence-what = 日志共 { $n } 条；任何人都无法不留痕迹地更改或删除。
evidence-none = 没有符合的条目。
evidence-looked = 已查至第 { $entry } 条；下一页由此继续。
evidence-kind = 类型
evidence-by = 人员
evidence-from = 起始（UTC）
evidence-to = 截止（UTC）
evidence-job = 任务
evidence-hash = 哈希（日志树的叶）
evidence-proof = 其在日志中的证明
evidence-text = 条目文件
evidence-entry = 第 { $entry } 条
verify-title = 证据日志校验结果
verify-button = 校验
verify-good = 与写入时一致
verify-bad = 与写入时不一致
verify-all = { $entries } 条与写入时一致，{ $checkpoints } 个签名检查点相符。
verify-held = 对照的锚点：{ $n }。
verify-first = 第一个有问题的条目是 { $entry }。
verify-now = 保持数据库原样，导出日志并与最近的备份比较；其后的条目视为未经证明。
verify-took = 用时 { $took }。
verify-elsewhere = 能更改日志者也可能更改了恢复设备：请在另一台计算机上用此命令校验

## Refusals
code-bad-state-what = 任务不会处于此状态。
code-bad-state-now = 请从列表中选择状态。
code-bad-time-what = 无法识别该时间。
code-bad-time-now = 请写作 2026-11-30 或 2026-11-30T13:05（UTC）。
code-nothing-to-retry-what = 任务已成功，无需重试。
code-nothing-to-retry-now = 如有需要，请另行请求恢复。
code-retry-elsewhere-what = 采集或演练须在原处重新开始。
code-retry-elsewhere-now = 请重新请求采集，或重新开始演练。
