#!/bin/sh
# Draws the sizes of the application's icon anew from llmtor.svg. Needs rsvg-convert (Debian: librsvg2-bin).
set -eu
cd "$(dirname "$0")"
for size in 16 22 24 32 48 64 128 256 512; do
    mkdir -p "hicolor/${size}x$size/apps"
    rsvg-convert --width "$size" --height "$size" --output "hicolor/${size}x$size/apps/llmtor.png" llmtor.svg
done
