#!/bin/sh
# Compiles and runs a user's program with what pkg-config says and nothing else.
# usage: run.sh COMPILER PKG_CONFIG_DIRECTORY WORK_DIRECTORY
set -eu
compiler=$1
export PKG_CONFIG_PATH="$2"
work=$3
source=$(dirname "$0")/../main.cpp

mkdir -p "$work"
# shellcheck disable=SC2046  # the flags are words
"$compiler" -std=c++20 "$source" -o "$work/consumer" $(pkg-config --cflags --libs muster)
"$work/consumer"
