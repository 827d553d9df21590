extern "C" {
int base_value();
int follower_value() { return base_value() + 2; }
}
