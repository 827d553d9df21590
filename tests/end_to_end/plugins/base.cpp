extern "C" int base_value() { return 1000; }
