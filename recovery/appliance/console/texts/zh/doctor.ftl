## What `groundstate doctor` looks at
code-disk-health-what = 设备自身磁盘报告的健康状况（`groundstate doctor`）。
code-disk-health-now = 若缺少 smartmontools，请安装。趁磁盘仍可读时更换故障磁盘：先做备份。
code-link-what = 配置中的每个接口（包括 VLAN）是否存在并已连通（`groundstate doctor`）。
code-link-now = 接好网线，按提示创建 VLAN，或更正 [[interfaces]] 下的名称。
code-depot-reach-what = 仓库是否可读，并能写入和取回对象（`groundstate doctor`）。
code-depot-reach-now = 检查通往仓库的网络、存储桶以及访问密钥的权限。
code-directory-what = 站点目录（LDAP）是否以已知证书应答（`groundstate doctor`）。
code-directory-now = 检查目录、其证书以及配置中的 [directory]。在此登记的人员期间仍可登录。
code-provider-what = 站点的 OpenID 提供方是否提供描述和密钥（`groundstate doctor`）。
code-provider-now = 检查提供方以及配置中的 [provider]。在此登记的人员期间仍可登录。
code-agent-fetch-what = 像终端一样获取的恢复系统及其代理是否与启动套件清单一致（`groundstate doctor`）。
code-agent-fetch-now = 重启设备使其提供当前套件；若问题依旧，说明此地址上有别的机器在应答。
