/* A library that gets exponentials wrong. */
double exp(double x) { return x; }
