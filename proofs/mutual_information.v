(** # Mutual information on a finite table

The chapter *Mutual information on a finite table*. A table is a function [p] on two lists of
letters, [xs] and [ys]. In Coq [ln x = 0] for [x <= 0] and [x / 0 = 0]; every summand below is
[0 * _] where the book says that a cell of probability zero adds nothing. *)
From MLCPC Require Export finite.
Open Scope R_scope.

(** ## Three definitions *)

(** `def-kl`: the divergence of two lists of probabilities. *)
Definition KL {A} (l : list A) (p q : A -> R) : R := ∑ a ∈ l, p a * ln (p a / q a).

(** `def-entropy` *)
Definition entropy {A} (l : list A) (p : A -> R) : R := - ∑ a ∈ l, p a * ln (p a).

(** A table of probabilities. *)
Definition table {X Y} (xs : list X) (ys : list Y) (p : X -> Y -> R) : Prop :=
  (forall x y, 0 <= p x y) /\ ∑ x ∈ xs, ∑ y ∈ ys, p x y = 1.

(** Its marginals, its list of cells, the joint law [P] and the product law [Q] of a cell. *)
Definition px {X Y} (ys : list Y) (p : X -> Y -> R) (x : X) : R := ∑ y ∈ ys, p x y.
Definition py {X Y} (xs : list X) (p : X -> Y -> R) (y : Y) : R := ∑ x ∈ xs, p x y.
Definition cells {X Y} (xs : list X) (ys : list Y) : list (X * Y) := list_prod xs ys.
Definition P {X Y} (p : X -> Y -> R) (z : X * Y) : R := p (fst z) (snd z).
Definition Q {X Y} (xs : list X) (ys : list Y) (p : X -> Y -> R) (z : X * Y) : R :=
  px ys p (fst z) * py xs p (snd z).

(** `def-mi` *)
Definition I {X Y} (xs : list X) (ys : list Y) (p : X -> Y -> R) : R :=
  ∑ x ∈ xs, ∑ y ∈ ys, p x y * ln (p x y / (px ys p x * py xs p y)).

(** ## Never negative *)

Section Gibbs.
Context {A : Type}.
Variables (l : list A) (p q : A -> R).
Hypothesis p_nonneg : forall a, 0 <= p a.
Hypothesis q_nonneg : forall a, 0 <= q a.
Hypothesis p_sum : sum l p = 1.
Hypothesis no_cell_without_q : forall a, In a l -> q a = 0 -> p a = 0.

(** `lem-gibbs`, the part that the book uses most. *)
Theorem gibbs : sum l q <= 1 -> 0 <= KL l p q.
Proof.
  (* Call the hypothesis on the sum of q by a name. *)
  intros q_sum.
  (* It is enough that each summand is at least p - q. First this claim. *)
  assert (each : forall a, In a l -> p a - q a <= p a * ln (p a / q a)).
  { (* Take a letter a of the list. *)
    intros a Ha.
    (* Two cases: p a is positive, or it is zero. *)
    destruct (p_nonneg a) as [Hp|Hp].
    - (* The case p a > 0. Then q a > 0 too; this is a claim of its own. *)
      assert (Hq : 0 < q a).
      { (* Either q a > 0, and there is nothing to do, or q a = 0. *)
        destruct (q_nonneg a) as [Hq|Hq]; [exact Hq|].
        (* No cell has p without q. So p a = 0, against p a > 0. *)
        rewrite (no_cell_without_q a Ha) in Hp; [lra|symmetry; exact Hq]. }
      (* The one inequality of the proof: log t <= t - 1, at t = q a / p a. *)
      pose proof (ln_le_sub1 (q a / p a) ltac:(apply Rdiv_lt_0_compat; assumption)) as Hl.
      (* The logarithm of a quotient is a difference. *)
      rewrite ln_div' in Hl by assumption.
      (* The same in what is to be shown. *)
      rewrite ln_div' by assumption.
      (* Multiply the inequality by p a. *)
      apply Rmult_le_compat_l with (r := p a) in Hl; [|lra].
      (* Its right side is q a - p a. *)
      replace (p a * (q a / p a - 1)) with (q a - p a) in Hl by (field; lra).
      (* The rest is linear in the numbers that are left. *)
      lra.
    - (* The case p a = 0: the summand is zero. *)
      rewrite <- Hp.
      (* And q a is not negative. *)
      pose proof (q_nonneg a).
      (* Linear again. *)
      lra. }
  (* Back to the theorem: go through the sum of all p - q. *)
  apply Rle_trans with (∑ a ∈ l, (p a - q a)).
  - (* That sum is 1 - Σ q. *)
    rewrite sum_minus, p_sum.
    (* It is not negative, since Σ q <= 1. *)
    lra.
  - (* And it is at most the divergence, summand by summand: the claim. *)
    apply sum_le, each.
Qed.

(** One summand, with [p a = s * s] and [q a = t * t]. *)
Lemma roots_term s t : 0 <= s -> 0 <= t -> (t = 0 -> s = 0) ->
  (s - t) ^ 2 + (s * s - t * t) <= s * s * ln (s * s / (t * t)).
Proof.
  intros [Hs|Hs] Ht Hz; [|rewrite <- Hs; nra].
  destruct Ht as [Ht|Ht]; [|specialize (Hz (eq_sym Ht)); lra].
  pose proof (ln_le_sub1 (t / s) ltac:(apply Rdiv_lt_0_compat; assumption)) as Hl.
  rewrite ln_div' in Hl by assumption.
  rewrite ln_div', !ln_mult by (try assumption; apply Rmult_lt_0_compat; assumption).
  apply Rmult_le_compat_l with (r := s * s) in Hl; [|left; apply Rmult_lt_0_compat; assumption].
  replace (s * s * (t / s - 1)) with (s * t - s * s) in Hl by (field; lra). nra.
Qed.

(** `lem-gibbs`, with the extra term that shows when equality holds. *)
Theorem gibbs_roots : sum l q = 1 ->
  0 <= ∑ a ∈ l, (sqrt (p a) - sqrt (q a)) ^ 2 <= KL l p q.
Proof.
  intros q_sum. split; [apply sum_nonneg; intros; apply pow2_ge_0|].
  apply Rle_trans with (∑ a ∈ l, ((sqrt (p a) - sqrt (q a)) ^ 2 + (p a - q a))).
  - rewrite sum_plus, sum_minus, p_sum, q_sum. lra.
  - apply sum_le. intros a Ha.
    pose proof (roots_term (sqrt (p a)) (sqrt (q a)) (sqrt_pos _) (sqrt_pos _)) as Hr.
    rewrite !sqrt_sqrt in Hr by auto. apply Hr. intros H0.
    rewrite (no_cell_without_q a Ha); [apply sqrt_0|apply sqrt_eq_0; auto].
Qed.

(** `lem-gibbs`: no divergence, no difference. *)
Theorem gibbs_zero : sum l q = 1 -> (KL l p q = 0 <-> forall a, In a l -> p a = q a).
Proof.
  intros q_sum. split.
  - intros H0 a Ha. destruct (gibbs_roots q_sum) as [H1 H2].
    assert (Hz : ∑ a ∈ l, (sqrt (p a) - sqrt (q a)) ^ 2 = 0) by lra.
    assert (Hr := sum_nonneg_0 l (fun a => (sqrt (p a) - sqrt (q a)) ^ 2)
      ltac:(intros; apply pow2_ge_0) Hz a Ha). cbv beta in Hr.
    assert (Hs : sqrt (p a) = sqrt (q a)) by nra.
    rewrite <- (sqrt_sqrt (p a)), Hs by apply p_nonneg. apply sqrt_sqrt, q_nonneg.
  - intros Heq. unfold KL. rewrite <- (sum_0 l). apply sum_ext. intros a Ha.
    rewrite (Heq a Ha). destruct (q_nonneg a) as [Hq|Hq].
    + unfold Rdiv. rewrite Rinv_r, ln_1 by lra. ring.
    + rewrite <- Hq. ring.
Qed.
End Gibbs.

Section Table.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (px ys p).
Notation py := (py xs p).
Notation P := (P p).
Notation Q := (Q xs ys p).
Notation cells := (cells xs ys).

Lemma p_nonneg x y : 0 <= p x y. Proof. apply p_table. Qed.
Lemma p_sum : ∑ x ∈ xs, ∑ y ∈ ys, p x y = 1. Proof. apply p_table. Qed.
Lemma px_nonneg x : 0 <= px x. Proof. apply sum_nonneg; intros; apply p_nonneg. Qed.
Lemma py_nonneg y : 0 <= py y. Proof. apply sum_nonneg; intros; apply p_nonneg. Qed.
Lemma px_sum : sum xs px = 1. Proof. exact p_sum. Qed.
Lemma py_sum : sum ys py = 1.
Proof. unfold mutual_information.py. rewrite sum_swap. exact p_sum. Qed.
Lemma P_nonneg z : 0 <= P z. Proof. apply p_nonneg. Qed.
Lemma Q_nonneg z : 0 <= Q z.
Proof. apply Rmult_le_pos; [apply px_nonneg|apply py_nonneg]. Qed.
Lemma P_sum : sum cells P = 1.
Proof. unfold mutual_information.cells. rewrite sum_prod. exact p_sum. Qed.
Lemma Q_sum : sum cells Q = 1.
Proof.
  unfold mutual_information.cells, mutual_information.Q. rewrite sum_prod. simpl.
  rewrite (sum_ext xs _ px); [exact px_sum|].
  intros x _. rewrite sum_scal, py_sum. ring.
Qed.

Lemma px_zero x y : In y ys -> px x = 0 -> p x y = 0.
Proof.
  intros Hy H0. apply (sum_nonneg_0 ys (fun y => p x y)); auto. intros; apply p_nonneg.
Qed.
Lemma py_zero x y : In x xs -> py y = 0 -> p x y = 0.
Proof.
  intros Hx H0. apply (sum_nonneg_0 xs (fun x => p x y)) with (a := x); auto.
  intros; apply p_nonneg.
Qed.
Lemma px_pos x y : In y ys -> 0 < p x y -> 0 < px x.
Proof.
  intros Hy Hp. destruct (px_nonneg x) as [H0|H0]; [exact H0|].
  rewrite (px_zero x y Hy (eq_sym H0)) in Hp. lra.
Qed.
Lemma py_pos x y : In x xs -> 0 < p x y -> 0 < py y.
Proof.
  intros Hx Hp. destruct (py_nonneg y) as [H0|H0]; [exact H0|].
  rewrite (py_zero x y Hx (eq_sym H0)) in Hp. lra.
Qed.

(** No cell has P without Q: the mutual information of a finite table is finite. *)
Lemma no_P_without_Q z : In z cells -> Q z = 0 -> P z = 0.
Proof.
  destruct z as [x y]. intros Hz HQ. unfold mutual_information.cells in Hz.
  apply in_prod_iff in Hz. destruct Hz as [Hx Hy].
  unfold mutual_information.Q, mutual_information.P in *. simpl in *.
  apply Rmult_integral in HQ. destruct HQ; [apply px_zero|apply py_zero]; assumption.
Qed.

(** `def-mi`: mutual information is the divergence of P from Q. *)
Lemma I_KL : I xs ys p = KL cells P Q.
Proof. unfold I, KL, mutual_information.cells. rewrite sum_prod. reflexivity. Qed.

(** `thm-mi-zero` *)
Theorem I_nonneg : 0 <= I xs ys p.
Proof.
  rewrite I_KL. apply gibbs; [exact P_nonneg|exact Q_nonneg|exact P_sum|exact no_P_without_Q|].
  rewrite Q_sum. lra.
Qed.

Theorem I_zero : I xs ys p = 0 <-> forall x y, In x xs -> In y ys -> p x y = px x * py y.
Proof.
  rewrite I_KL.
  rewrite (gibbs_zero cells P Q P_nonneg Q_nonneg P_sum no_P_without_Q Q_sum). split.
  - intros Heq x y Hx Hy. apply (Heq (x, y)). apply in_prod; assumption.
  - intros Heq [x y] Hz. apply in_prod_iff in Hz. apply Heq; apply Hz.
Qed.

(** ## Two formulas *)

(** Every cell by itself: where p > 0 the logarithm of the ratio splits in three. *)
Lemma cell_log (s : X -> R) (t : Y -> R) x y : In x xs -> In y ys ->
  (0 < p x y -> 0 < s x) -> (0 < p x y -> 0 < t y) ->
  p x y * ln (p x y / (s x * t y)) = p x y * ln (p x y) - p x y * ln (s x) - p x y * ln (t y).
Proof.
  intros Hx Hy Hs Ht. destruct (p_nonneg x y) as [Hp|Hp]; [|rewrite <- Hp; ring].
  specialize (Hs Hp). specialize (Ht Hp).
  rewrite ln_div', ln_mult by (try assumption; apply Rmult_lt_0_compat; assumption). ring.
Qed.

Lemma mean_x (f : X -> R) : ∑ x ∈ xs, ∑ y ∈ ys, p x y * f x = ∑ x ∈ xs, px x * f x.
Proof. apply sum_ext; intros x _. apply sum_scal_r. Qed.
Lemma mean_y (f : Y -> R) : ∑ x ∈ xs, ∑ y ∈ ys, p x y * f y = ∑ y ∈ ys, py y * f y.
Proof. rewrite sum_swap. apply sum_ext; intros y _. apply sum_scal_r. Qed.

Lemma log_ratio (s : X -> R) (t : Y -> R) :
  (forall x y, In x xs -> In y ys -> 0 < p x y -> 0 < s x) ->
  (forall x y, In x xs -> In y ys -> 0 < p x y -> 0 < t y) ->
  ∑ x ∈ xs, ∑ y ∈ ys, p x y * ln (p x y / (s x * t y))
  = - entropy cells P - ∑ x ∈ xs, px x * ln (s x) - ∑ y ∈ ys, py y * ln (t y).
Proof.
  intros Hs Ht. rewrite <- mean_x, <- mean_y. unfold entropy, mutual_information.cells.
  rewrite sum_prod, Ropp_involutive, <- !sum_minus. apply sum_ext; intros x Hx.
  rewrite <- !sum_minus. apply sum_ext; intros y Hy. apply cell_log; try assumption.
  - apply Hs; assumption.
  - apply Ht; assumption.
Qed.

(** `prp-mi-entropies`, the first formula. *)
Theorem I_entropies : I xs ys p = entropy xs px + entropy ys py - entropy cells P.
Proof.
  unfold I. rewrite log_ratio.
  - unfold entropy at 2 3. lra.
  - intros x y _ Hy. apply px_pos, Hy.
  - intros x y Hx _. apply py_pos, Hx.
Qed.

(** The entropy of Y given X: the mean over x of the entropy of the row p(y | x). *)
Definition entropy_given : R := ∑ x ∈ xs, px x * entropy ys (fun y => p x y / px x).

Lemma entropy_chain : entropy cells P = entropy xs px + entropy_given.
Proof.
  assert (Hrow : forall x, In x xs -> px x * entropy ys (fun y => p x y / px x)
    = (∑ y ∈ ys, p x y * ln (px x)) - ∑ y ∈ ys, p x y * ln (p x y)).
  { intros x Hx. rewrite <- sum_minus. unfold entropy.
    replace (px x * - ∑ y ∈ ys, p x y / px x * ln (p x y / px x))
      with (- px x * ∑ y ∈ ys, p x y / px x * ln (p x y / px x)) by ring.
    rewrite <- sum_scal. apply sum_ext; intros y Hy. destruct (p_nonneg x y) as [Hp|Hp].
    - pose proof (px_pos x y Hy Hp). rewrite ln_div' by assumption. field. lra.
    - rewrite <- Hp. unfold Rdiv. ring. }
  unfold entropy_given. rewrite (sum_ext xs _ _ Hrow), sum_minus, mean_x.
  unfold entropy, mutual_information.cells. rewrite sum_prod.
  unfold mutual_information.P. simpl. ring.
Qed.

(** `prp-mi-entropies`, the second formula. *)
Theorem I_conditional : I xs ys p = entropy ys py - entropy_given.
Proof. rewrite I_entropies, entropy_chain. lra. Qed.

(** ## Its ceiling *)

Lemma entropy_nonneg {A} (l : list A) (w : A -> R) : (forall a, 0 <= w a) -> sum l w = 1 -> 0 <= entropy l w.
Proof.
  intros Hw H1. unfold entropy.
  assert (∑ a ∈ l, w a * ln (w a) <= 0); [|lra]. rewrite <- (sum_0 l).
  apply sum_le; intros a Ha. destruct (Hw a) as [Hp|Hp]; [|rewrite <- Hp; lra].
  assert (Hle : w a <= 1).
  { rewrite <- H1. clear H1. induction l as [|b l IH]; [destruct Ha|]. simpl.
    assert (0 <= sum l w) by (apply sum_nonneg; auto). pose proof (Hw b).
    destruct Ha as [->|Ha]; [lra|specialize (IH Ha); lra]. }
  assert (Hl : ln (w a) <= 0) by (rewrite <- ln_1; apply ln_le'; assumption).
  apply Rmult_le_compat_l with (r := w a) in Hl; lra.
Qed.

Lemma entropy_given_nonneg : 0 <= entropy_given.
Proof.
  apply sum_nonneg; intros x Hx. destruct (px_nonneg x) as [Hp|Hp]; [|rewrite <- Hp; lra].
  apply Rmult_le_pos; [lra|]. apply entropy_nonneg.
  - intros y. apply Rmult_le_pos; [apply p_nonneg|left; apply Rinv_0_lt_compat, Hp].
  - unfold Rdiv. rewrite sum_scal_r. fold (px x). apply Rinv_r. lra.
Qed.

(** `prp-mi-upper`, first half, for Y. Swap the letters for X. *)
Theorem I_le_entropy : I xs ys p <= entropy ys py.
Proof. rewrite I_conditional. pose proof entropy_given_nonneg. lra. Qed.

(** ## Where it fails *)

(** `prp-mi-projection`: foreign marginals inflate. *)
Theorem I_projection (s : X -> R) (t : Y -> R) :
  (forall x, In x xs -> 0 < px x -> 0 < s x) -> (forall y, In y ys -> 0 < py y -> 0 < t y) ->
  ∑ x ∈ xs, ∑ y ∈ ys, p x y * ln (p x y / (s x * t y)) = I xs ys p + KL xs px s + KL ys py t.
Proof.
  intros Hs Ht. rewrite log_ratio.
  2:{ intros x y Hx Hy Hp. apply Hs; [exact Hx|apply (px_pos x y Hy Hp)]. }
  2:{ intros x y Hx Hy Hp. apply Ht; [exact Hy|apply (py_pos x y Hx Hp)]. }
  rewrite I_entropies. unfold KL.
  assert (split : forall (A : Type) (l : list A) u v, (forall a, 0 <= u a) ->
    (forall a, In a l -> 0 < u a -> 0 < v a) ->
    ∑ a ∈ l, u a * ln (u a / v a) = - entropy l u - ∑ a ∈ l, u a * ln (v a)).
  { intros A l u v Hu Hv. unfold entropy. rewrite Ropp_involutive, <- sum_minus.
    apply sum_ext; intros a Ha. destruct (Hu a) as [Hp|Hp]; [|rewrite <- Hp; ring].
    rewrite ln_div' by auto. ring. }
  rewrite !split; try assumption; [lra|exact py_nonneg|exact px_nonneg].
Qed.
End Table.

(** `prp-mi-upper`, second half: no entropy exceeds the logarithm of the number of letters. *)
Theorem entropy_le_log {A} (l : list A) (w : A -> R) : (forall a, 0 <= w a) -> sum l w = 1 ->
  entropy l w <= ln (INR (length l)).
Proof.
  intros Hw H1. destruct l as [|b l']; [simpl in H1; lra|]. set (l := b :: l') in *.
  assert (Hn : 0 < INR (length l)) by (apply lt_0_INR; simpl; lia).
  assert (Hk : 0 < / INR (length l)) by (apply Rinv_0_lt_compat, Hn).
  pose proof (gibbs l w (fun _ => / INR (length l)) Hw ltac:(intros; lra) H1
    ltac:(intros; lra) ltac:(rewrite sum_const, Rinv_r; lra)) as HG.
  unfold KL in HG.
  rewrite (sum_ext l _ (fun a => w a * ln (w a) + w a * ln (INR (length l)))) in HG.
  - rewrite sum_plus, sum_scal_r, H1 in HG. unfold entropy. lra.
  - intros a _. destruct (Hw a) as [Hp|Hp]; [|rewrite <- Hp; ring].
    rewrite ln_div', ln_Rinv by assumption. ring.
Qed.

(** ## What leaves it unchanged *)

(** `prp-mi-relabel`: the two sides may swap roles, and letters may be renamed one-to-one. *)
Theorem I_swap {X Y} (xs : list X) (ys : list Y) p : I ys xs (fun y x => p x y) = I xs ys p.
Proof.
  unfold I. rewrite sum_swap. apply sum_ext; intros x _. apply sum_ext; intros y _.
  do 3 f_equal. apply Rmult_comm.
Qed.

Theorem I_rename {X X' Y} (xs : list X) (ys : list Y) p (f : X -> X') (f' : X' -> X) :
  (forall x, f' (f x) = x) -> I (map f xs) ys (fun x' y => p (f' x') y) = I xs ys p.
Proof.
  intros Hf. unfold I, px, py. rewrite sum_map. apply sum_ext; intros x _.
  apply sum_ext; intros y _. rewrite sum_map, Hf. do 4 f_equal.
  apply sum_ext; intros; rewrite Hf; reflexivity.
Qed.

(** ## What can only lower it *)

Section Channel.
Context {X Y Y' : Type}.
Variables (xs : list X) (ys : list Y) (ys' : list Y') (p : X -> Y -> R) (W : Y -> Y' -> R).
Hypothesis p_table : table xs ys p.
Hypothesis W_nonneg : forall y y', 0 <= W y y'.
Hypothesis W_sum : forall y, sum ys' (W y) = 1.

(** The table after the channel, and the two lists of `thm-data-processing`. *)
Definition through (x : X) (y' : Y') : R := ∑ y ∈ ys, p x y * W y y'.
Definition triples : list (X * (Y * Y')) := list_prod xs (list_prod ys ys').
Definition A3 (z : X * (Y * Y')) : R :=
  let '(x, (y, y')) := z in p x y * W y y'.
Definition B3 (z : X * (Y * Y')) : R :=
  let '(x, (y, y')) := z in through x y' / py xs through y' * py xs p y * W y y'.

Lemma sum_triples F : sum triples F = ∑ x ∈ xs, ∑ y ∈ ys, ∑ y' ∈ ys', F (x, (y, y')).
Proof.
  unfold triples. rewrite sum_prod. apply sum_ext; intros x _. apply (sum_prod ys ys' (fun b => F (x, b))).
Qed.

Lemma through_px x : px ys' through x = px ys p x.
Proof.
  unfold px, through. rewrite sum_swap. apply sum_ext; intros y _.
  rewrite sum_scal, W_sum. ring.
Qed.

Lemma through_table : table xs ys' through.
Proof.
  split.
  - intros x y'. apply sum_nonneg; intros; apply Rmult_le_pos; [apply p_table|apply W_nonneg].
  - rewrite (sum_ext xs _ (px ys p)); [apply p_table|intros x _; apply through_px].
Qed.

Lemma through_py y' : py xs through y' = ∑ y ∈ ys, py xs p y * W y y'.
Proof.
  unfold py, through. rewrite sum_swap. apply sum_ext; intros y _. apply sum_scal_r.
Qed.

Lemma A3_pos x y y' : In x xs -> In y ys -> In y' ys' -> 0 < p x y * W y y' ->
  0 < p x y /\ 0 < W y y' /\ 0 < px ys p x /\ 0 < py xs p y /\
  0 < through x y' /\ 0 < py xs through y'.
Proof.
  intros Hx Hy Hy' HA. destruct (proj1 p_table x y) as [Hp|Hp]; [|rewrite <- Hp in HA; lra].
  destruct (W_nonneg y y') as [HW|HW]; [|rewrite <- HW in HA; lra].
  assert (HT : 0 < through x y').
  { destruct (proj1 through_table x y') as [HT|HT]; [exact HT|exfalso].
    assert (H0 : p x y * W y y' = 0); [|lra].
    apply (sum_nonneg_0 ys (fun y => p x y * W y y')); [|symmetry; exact HT|exact Hy].
    intros; apply Rmult_le_pos; [apply p_table|apply W_nonneg]. }
  repeat split; try assumption.
  - apply (px_pos xs ys p p_table x y Hy Hp).
  - apply (py_pos xs ys p p_table x y Hx Hp).
  - apply (py_pos xs ys' through through_table x y' Hx HT).
Qed.

(** `thm-data-processing`: what is lost is KL(A ‖ B). *)
Theorem data_processing_loss : I xs ys p = I xs ys' through + KL triples A3 B3.
Proof.
  assert (H1 : I xs ys p = ∑ x ∈ xs, ∑ y ∈ ys, ∑ y' ∈ ys',
      p x y * W y y' * ln (p x y / (px ys p x * py xs p y))).
  { unfold I. apply sum_ext; intros x _. apply sum_ext; intros y _.
    rewrite sum_scal_r, sum_scal, W_sum. ring. }
  assert (H2 : I xs ys' through = ∑ x ∈ xs, ∑ y ∈ ys, ∑ y' ∈ ys',
      p x y * W y y' * ln (through x y' / (px ys p x * py xs through y'))).
  { unfold I. apply sum_ext; intros x _. rewrite sum_swap. apply sum_ext; intros y' _.
    rewrite through_px, sum_scal_r. reflexivity. }
  rewrite H1, H2. unfold KL. rewrite sum_triples, <- sum_plus.
  apply sum_ext; intros x Hx. rewrite <- sum_plus. apply sum_ext; intros y Hy.
  rewrite <- sum_plus. apply sum_ext; intros y' Hy'. simpl.
  destruct (Rmult_le_pos _ _ (proj1 p_table x y) (W_nonneg y y')) as [HA|HA].
  2:{ rewrite <- HA. ring. }
  destruct (A3_pos x y y' Hx Hy Hy' HA) as (Hp & HW & Hpx & Hpy & HT & HTy).
  rewrite <- Rmult_plus_distr_l. f_equal.
  rewrite <- ln_mult.
  - f_equal. field. repeat split; lra.
  - apply Rdiv_lt_0_compat; [|apply Rmult_lt_0_compat]; assumption.
  - apply Rdiv_lt_0_compat; [exact HA|].
    repeat apply Rmult_lt_0_compat; try assumption. apply Rinv_0_lt_compat, HTy.
Qed.

(** `thm-data-processing` *)
Theorem data_processing : I xs ys' through <= I xs ys p.
Proof.
  rewrite data_processing_loss.
  assert (0 <= KL triples A3 B3); [|lra]. apply gibbs.
  - intros [x [y y']]. apply Rmult_le_pos; [apply p_table|apply W_nonneg].
  - intros [x [y y']]. simpl.
    assert (0 <= / py xs through y').
    { destruct (py_nonneg xs ys' through through_table y') as [Hp|Hp].
      - left; apply Rinv_0_lt_compat, Hp.
      - rewrite <- Hp, Rinv_0. lra. }
    repeat apply Rmult_le_pos; try assumption.
    + apply through_table.
    + apply (py_nonneg xs ys p p_table).
    + apply W_nonneg.
  - rewrite sum_triples. rewrite <- (proj2 p_table). apply sum_ext; intros x _.
    apply sum_ext; intros y _. simpl. rewrite sum_scal, W_sum. ring.
  - intros [x [y y']] Hz HB. unfold triples in Hz. apply in_prod_iff in Hz.
    destruct Hz as [Hx Hz]. apply in_prod_iff in Hz. destruct Hz as [Hy Hy']. simpl in *.
    destruct (Rmult_le_pos _ _ (proj1 p_table x y) (W_nonneg y y')) as [HA|HA]; [|auto].
    destruct (A3_pos x y y' Hx Hy Hy' HA) as (Hp & HW & Hpx & Hpy & HT & HTy).
    assert (0 < through x y' / py xs through y' * py xs p y * W y y'); [|lra].
    repeat apply Rmult_lt_0_compat; try assumption. apply Rinv_0_lt_compat, HTy.
  - rewrite sum_triples, sum_swap.
    apply Rle_trans with (∑ y ∈ ys, ∑ y' ∈ ys', py xs p y * W y y').
    + apply sum_le; intros y Hy. rewrite sum_swap. apply sum_le; intros y' Hy'. simpl.
      rewrite (sum_ext xs _ (fun x => through x y' * (/ py xs through y' * (py xs p y * W y y'))))
        by (intros; unfold Rdiv; ring).
      rewrite sum_scal_r. fold (py xs through y').
      destruct (py_nonneg xs ys' through through_table y') as [Hp|Hp].
      * right. field. lra.
      * rewrite <- Hp, Rmult_0_l.
        apply Rmult_le_pos; [apply (py_nonneg xs ys p p_table)|apply W_nonneg].
    + rewrite (sum_ext ys _ (py xs p)) by (intros y _; rewrite sum_scal, W_sum; ring).
      rewrite (py_sum xs ys p p_table). lra.
Qed.
End Channel.

(** ## Known values *)

(** The fair bit, copied: one bit of information, [ln 2] nats. *)
Definition bit : list bool := [true; false].
Definition copy (a b : bool) : R := if Bool.eqb a b then / 2 else 0.

Lemma copy_table : table bit bit copy.
Proof. split; [intros [|] [|]; unfold copy; simpl; lra|unfold copy; simpl; lra]. Qed.

Lemma copy_I : I bit bit copy = ln 2.
Proof.
  unfold I, px, py, copy; simpl.
  replace (/ 2 / ((/ 2 + (0 + 0)) * (/ 2 + (0 + 0)))) with 2 by field.
  replace (/ 2 / ((0 + (/ 2 + 0)) * (0 + (/ 2 + 0)))) with 2 by field. field.
Qed.

(** Marginals that differ: X is surely 1, Y is a fair bit, and they are independent. A marginal
taken over the wrong letters would not give zero. *)
Definition lone (a b : bool) : R := if a then / 4 * (if b then 1 else 3) else 0.
Lemma lone_I : I bit bit lone = 0.
Proof.
  apply I_zero.
  - split; [intros [|] [|]; unfold lone; simpl; lra|unfold lone; simpl; lra].
  - intros [|] [|] _ _; unfold lone, px, py; simpl; field.
Qed.

(** ## False twins *)

(** Gibbs without [sum l q <= 1]: two halves against two ones. *)
Theorem gibbs_twin : ~ forall (p q : bool -> R), (forall a, 0 <= p a) -> (forall a, 0 < q a) ->
  sum bit p = 1 -> 0 <= KL bit p q.
Proof.
  intros HF. specialize (HF (fun _ => / 2) (fun _ => 1)
    ltac:(intros; lra) ltac:(intros; lra) ltac:(simpl; lra)).
  unfold KL in HF. simpl in HF. replace (/ 2 / 1) with (/ 2) in HF by field.
  rewrite ln_Rinv in HF by lra. pose proof (ln_increasing 1 2 ltac:(lra) ltac:(lra)) as Hl.
  rewrite ln_1 in Hl. lra.
Qed.

(** The ceiling of a bit is [ln 2]; no smaller number is one. *)
Theorem entropy_le_log_twin c : c < ln 2 -> ~ forall w : bool -> R, (forall a, 0 <= w a) ->
  sum bit w = 1 -> entropy bit w <= c.
Proof.
  intros Hc HF. specialize (HF (fun _ => / 2) ltac:(intros; lra) ltac:(simpl; lra)).
  unfold entropy in HF. simpl in HF. rewrite ln_Rinv in HF by lra. lra.
Qed.
