{
  lib,
  stdenv,
  rustPlatform,
  cmake,
  installShellFiles,
}:

let
  manifest = (lib.importTOML ../../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  # CMake is for a tokenizer in C++, which its crate configures by itself.
  nativeBuildInputs = [
    cmake
    installShellFiles
  ];
  dontUseCmakeConfigure = true;

  # They want networks, browsers and package registries, which a sandbox has not; `.ci/run` runs them.
  doCheck = false;

  postInstall = ''
    export HOME=$(mktemp -d)
    $out/bin/llmtor man --dir man
    installManPage man/*.1
    installShellCompletion --cmd llmtor \
      --bash <($out/bin/llmtor completions bash) \
      --zsh <($out/bin/llmtor completions zsh) \
      --fish <($out/bin/llmtor completions fish)
  ''
  + lib.optionalString stdenv.hostPlatform.isLinux ''
    install -D -m 644 -t $out/share/applications packaging/desktop/*.desktop
    install -D -m 644 -t $out/share/metainfo packaging/metainfo/*.xml
    install -D -m 644 -t $out/share/icons/hicolor/scalable/apps packaging/icons/llmtor.svg
    install -D -m 644 -t $out/share/systemd/user packaging/systemd/llmtor.service packaging/systemd/llmtor.socket
    substituteInPlace $out/share/systemd/user/llmtor.service --replace-fail /usr/bin/llmtor $out/bin/llmtor
  '';

  meta = {
    inherit (manifest) description;
    homepage = manifest.repository;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "llmtor";
    platforms = lib.platforms.unix;
  };
}
