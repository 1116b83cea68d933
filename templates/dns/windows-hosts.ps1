# {{ manager }}: replace Windows' hosts file by another one, unless a program wrote it since it was read.
param([string] $New, [string] $Sha256)
$ErrorActionPreference = 'Stop'
$hostsFile = Join-Path $env:SystemRoot 'System32\drivers\etc\hosts'
$beside = "$hostsFile.{{ manager }}"
Copy-Item -LiteralPath $New -Destination $beside
if ((Get-FileHash -LiteralPath $hostsFile -Algorithm SHA256).Hash -ne $Sha256) {
    Remove-Item -LiteralPath $beside
    exit 3
}
# In one step; the file keeps its owner and permissions.
[IO.File]::Replace($beside, $hostsFile, [NullString]::Value)
