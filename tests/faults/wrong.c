/* A library that gets square roots wrong. */
double sqrt(double x) { return x; }
