# `nix run github:llmtor/llmtor -- demo`. The package is packaging/nix/package.nix, the service of a user
# packaging/nix/home-module.nix (for Home Manager). flake.lock is written by the first `nix flake lock`.
{
  description = "OpenAI-compatible endpoint on localhost: pays blindly, prompts through Tor";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: rec {
        llmtor = pkgs.callPackage ./packaging/nix/package.nix { };
        default = llmtor;
      });

      apps = each (pkgs: rec {
        llmtor = {
          type = "app";
          program = "${self.packages.${pkgs.stdenv.hostPlatform.system}.llmtor}/bin/llmtor";
        };
        default = llmtor;
      });

      homeManagerModules.default = import ./packaging/nix/home-module.nix self;
    };
}
