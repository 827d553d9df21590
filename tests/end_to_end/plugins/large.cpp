// Two megabytes that are not zero, so that they are in the file.
extern "C" {
extern const unsigned char large_table[2 << 20];
const unsigned char large_table[2 << 20] = {1, 2, 3};
int first_of_large() { return large_table[0]; }
}
