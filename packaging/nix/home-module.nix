# For Home Manager: `programs.llmtor.enable = true;` installs it, `programs.llmtor.service = true;` starts it at the first call.
self:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.programs.llmtor;
  units = "${cfg.package}/share/systemd/user";
in
{
  options.programs.llmtor = {
    enable = lib.mkEnableOption "llmtor, an endpoint for language models that prompts through Tor";
    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      description = "The package to use.";
    };
    service = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether the first call to 127.0.0.1:8787 starts the daemon.";
    };
  };

  config = lib.mkIf cfg.enable {
    home.packages = [ cfg.package ];
    # The packaged units as they are: one place says how the daemon is confined.
    xdg.configFile = lib.mkIf cfg.service {
      "systemd/user/llmtor.service".source = "${units}/llmtor.service";
      "systemd/user/llmtor.socket".source = "${units}/llmtor.socket";
      "systemd/user/sockets.target.wants/llmtor.socket".source = "${units}/llmtor.socket";
    };
  };
}
