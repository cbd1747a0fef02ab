; Inno Setup 6.3 or newer: an installer around the folder that build.py makes.
;   iscc /DVersion=0.1.0 packaging\bundle\windows\model-loupe.iss
; Read through, but never compiled nor run: there was no Windows machine.
#ifndef Version
  #define Version "0.1.0"
#endif

[Setup]
AppId={{6B0E7A5E-2C53-4B7C-9E0A-6D1F0C9B7A11}
AppName=Model Loupe
AppVersion={#Version}
AppPublisher=The Model Loupe developers
DefaultDirName={autopf}\Model Loupe
DisableProgramGroupPage=yes
PrivilegesRequired=lowest
PrivilegesRequiredOverridesAllowed=dialog
MinVersion=10.0.17763
LicenseFile=..\..\..\LICENSE
OutputDir=..\..\..\dist
OutputBaseFilename=model-loupe-{#Version}-windows-x64
SetupIconFile=..\..\..\build\package\model-loupe.ico
UninstallDisplayIcon={app}\model-loupe.exe
Compression=lzma2/max
SolidCompression=yes
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
ChangesAssociations=yes
; A running window is asked to close before its files are replaced.
CloseApplications=yes

[Tasks]
Name: "desktopicon"; Description: "{cm:CreateDesktopIcon}"; Flags: unchecked

[InstallDelete]
; Nothing of an older version may be found beside the new one's modules.
Type: filesandordirs; Name: "{app}\_internal"

[Files]
Source: "..\..\..\dist\model-loupe\*"; DestDir: "{app}"; Flags: recursesubdirs createallsubdirs ignoreversion

[Icons]
Name: "{autoprograms}\Model Loupe"; Filename: "{app}\model-loupe.exe"
Name: "{autodesktop}\Model Loupe"; Filename: "{app}\model-loupe.exe"; Tasks: desktopicon

[Registry]
; "Open with": offered for these kinds, taken over for none.
Root: HKA; Subkey: "Software\Classes\.gguf\OpenWithProgids"; ValueType: string; ValueName: "ModelLoupe.gguf"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\ModelLoupe.gguf"; ValueType: string; ValueData: "GGUF language model"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\ModelLoupe.gguf\DefaultIcon"; ValueType: string; ValueData: "{app}\model-loupe.exe,0"
Root: HKA; Subkey: "Software\Classes\ModelLoupe.gguf\shell\open\command"; ValueType: string; ValueData: """{app}\model-loupe.exe"" ""%1"""
Root: HKA; Subkey: "Software\Classes\.pdf\OpenWithProgids"; ValueType: string; ValueName: "ModelLoupe.pdf"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\ModelLoupe.pdf"; ValueType: string; ValueData: "PDF document"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\ModelLoupe.pdf\shell\open\command"; ValueType: string; ValueData: """{app}\model-loupe.exe"" ""%1"""
Root: HKA; Subkey: "Software\Classes\Directory\shell\ModelLoupe"; ValueType: string; ValueData: "Open with Model Loupe"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\Directory\shell\ModelLoupe"; ValueType: string; ValueName: "Icon"; ValueData: "{app}\model-loupe.exe"
Root: HKA; Subkey: "Software\Classes\Directory\shell\ModelLoupe\command"; ValueType: string; ValueData: """{app}\model-loupe.exe"" ""%1"""

[Run]
Filename: "{app}\model-loupe.exe"; Description: "{cm:LaunchProgram,Model Loupe}"; Flags: nowait postinstall skipifsilent
