extern "C" int nameless() { return 1; }
