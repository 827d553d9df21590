// expect: conversion from 'const char
// catalogue: 3.8.145
#include <muster/remote_channel.hpp>

void refused(const muster::RemoteChannel<int>& channel) { channel.put("Hello"); }
