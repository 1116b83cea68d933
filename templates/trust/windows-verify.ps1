# Exit code 0 if Windows builds a trusted chain for the certificate in the file, for this user.
# https://learn.microsoft.com/dotnet/api/system.security.cryptography.x509certificates.x509chain.build
param([string]$File)
$leaf = New-Object Security.Cryptography.X509Certificates.X509Certificate2 $File
$chain = New-Object Security.Cryptography.X509Certificates.X509Chain
$chain.ChainPolicy.RevocationMode = 'NoCheck'
exit [int](-not $chain.Build($leaf))
