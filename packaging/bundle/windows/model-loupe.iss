; Inno Setup: an installer around the folder that build.py makes. Not tried yet on a Windows machine.
[Setup]
AppId={{6B0E7A5E-2C53-4B7C-9E0A-6D1F0C9B7A11}
AppName=Model Loupe
AppVersion=0.1.0
AppPublisher=The Model Loupe developers
DefaultDirName={autopf}\Model Loupe
DefaultGroupName=Model Loupe
PrivilegesRequired=lowest
LicenseFile=..\..\..\LICENSE
OutputDir=..\..\..\dist
OutputBaseFilename=model-loupe-windows-x64
SetupIconFile=..\..\..\build\package\model-loupe.ico
UninstallDisplayIcon={app}\model-loupe.exe
Compression=lzma2
SolidCompression=yes
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
ChangesAssociations=yes

[Files]
Source: "..\..\..\dist\model-loupe\*"; DestDir: "{app}"; Flags: recursesubdirs ignoreversion

[Icons]
Name: "{group}\Model Loupe"; Filename: "{app}\model-loupe.exe"

[Registry]
Root: HKA; Subkey: "Software\Classes\.gguf\OpenWithProgids"; ValueType: string; ValueName: "ModelLoupe.gguf"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\ModelLoupe.gguf"; ValueType: string; ValueData: "GGUF language model"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\ModelLoupe.gguf\shell\open\command"; ValueType: string; ValueData: """{app}\model-loupe.exe"" ""%1"""
Root: HKA; Subkey: "Software\Classes\.pdf\OpenWithProgids"; ValueType: string; ValueName: "ModelLoupe.pdf"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\ModelLoupe.pdf\shell\open\command"; ValueType: string; ValueData: """{app}\model-loupe.exe"" ""%1"""
