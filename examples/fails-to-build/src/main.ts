// The mistake is on purpose: this project shows how a failing build is reported.
const count: number = "three";
document.title = `Never built ${count} times`;
