#!/bin/sh
# Takes docs/pictures/tray.png anew: the tray in a real panel (Xfce's) on a display that nobody sees, its menu open.
# Needs xfce4-panel, xvfb, xdotool, imagemagick, dbus (Debian), and llmtor built: scripts/picture-of-tray.sh [PROGRAM]
# PICTURES is another folder than docs/pictures. It fails where no menu opens.
set -eu
cd "$(dirname "$0")/.."
program="$(realpath "${1:-target/debug/llmtor}")"
mkdir -p "${PICTURES:-docs/pictures}"
picture="$(realpath "${PICTURES:-docs/pictures}")/tray.png"
room="$(mktemp -d)"
export HOME="$room/user" XDG_CONFIG_HOME="$room/user/.config" XDG_RUNTIME_DIR="$room/run"
mkdir -p "$XDG_CONFIG_HOME/xfce4/xfconf/xfce-perchannel-xml" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
children=''
finish() {
    for child in $children; do kill "$child" 2>/dev/null || true; done
    [ ! -s "$room/daemon" ] || kill "$(cat "$room/daemon")" 2>/dev/null || true
    sleep 1
    rm -rf "$room"
}
trap finish EXIT INT TERM

cat >"$XDG_CONFIG_HOME/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="size" type="uint" value="32"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/>
        <value type="int" value="2"/>
        <value type="int" value="3"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="separator">
      <property name="expand" type="bool" value="true"/>
      <property name="style" type="uint" value="0"/>
    </property>
    <property name="plugin-2" type="string" value="systray">
      <property name="known-legacy-items" type="array"/>
      <property name="square-icons" type="bool" value="true"/>
    </property>
    <property name="plugin-3" type="string" value="clock"/>
  </property>
</channel>
XML

# A home with tokens, by the commands that a user would type.
cd "$room"
"$program" backend serve --home backend --listen 127.0.0.1:0 --json >backend.json 2>/dev/null &
children="$children $!"
until [ -s backend.json ]; do sleep 0.2; done
url="$(sed 's/.*"base_url":"\([^"]*\)".*/\1/' backend.json)"
"$program" backend account add alice --credits gpt-4.1=40 --credits gpt-4.1-mini=90 --home backend >session.txt
"$program" backend keys export --home backend >keys.json
"$program" init --home client --backend "$url" --keys keys.json >/dev/null
"$program" login --session-stdin --home client <session.txt >/dev/null
"$program" abuse setup --home client >/dev/null
"$program" tokens mint --model gpt-4.1 --count 32 --now --home client >/dev/null
"$program" tokens mint --model gpt-4.1-mini --count 87 --now --home client >/dev/null
export LLMTOR_SERVER__LISTEN=127.0.0.1:0 LLMTOR_ANONYMOUS__TRANSPORT=loopback

Xvfb -displayfd 3 -screen 0 800x480x24 -nolisten tcp 3>display 2>/dev/null &
children="$children $!"
until [ -s display ]; do sleep 0.2; done
DISPLAY=":$(cat display)"
export DISPLAY
dbus-daemon --session --nofork --print-address=3 --address="unix:path=$room/bus" 3>address 2>/dev/null &
children="$children $!"
until [ -s address ]; do sleep 0.2; done
DBUS_SESSION_BUS_ADDRESS="$(cat address)"
export DBUS_SESSION_BUS_ADDRESS
xfce4-panel --disable-wm-check >panel.log 2>&1 &
children="$children $!"
sleep 4
"$program" tray --home client >tray.log 2>&1 &
children="$children $!"
until [ -S client/control.sock ]; do sleep 0.2; done
"$program" status --home client --json | sed 's/.*"pid":\([0-9]*\).*/\1/' >daemon
sleep 4
# The clock is rightmost; the icon is beside it. A menu is thousands of points that were desktop before; a look of the pointer
# or a new minute is not. A busy machine may need a second click.
import -window root before.png
changed=0
for _ in 1 2 3 4 5; do
    xdotool mousemove 715 16 click 3
    sleep 2
    xdotool mousemove_relative 0 60
    sleep 1
    import -window root shot.png
    changed="$(compare -metric AE -fuzz 5% before.png shot.png null: 2>&1)" || true
    changed="${changed%%[!0-9]*}"
    [ "${changed:-0}" -le 20000 ] || break
    xdotool key Escape
    sleep 3
done
[ "${changed:-0}" -gt 20000 ] || { echo "no menu opened: ${changed} points changed" >&2; cat tray.log panel.log >&2; exit 1; }
convert shot.png -crop 420x330+380+0 +repage -fill '#33475b' -opaque black "$picture"
echo "$picture"
