// Work that may be asked for more often than it should be done.

/** A function that calls `work` at once, then at most every so many milliseconds, and after the last time it was asked. */
export function throttle(work, milliseconds) {
  let isResting = false;
  let isWanted = false;
  const run = () => {
    isResting = true;
    isWanted = false;
    work();
    setTimeout(() => {
      isResting = false;
      if (isWanted) run();
    }, milliseconds);
  };
  return () => {
    if (isResting) isWanted = true;
    else run();
  };
}
