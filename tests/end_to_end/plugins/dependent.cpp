extern "C" {
int base_value();
int dependent_value() { return base_value() + 1; }
}
